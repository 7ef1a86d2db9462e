//! The transport of OBS requests: signs, routes, and repairs what opendal's backend gets wrong.
//!
//! opendal 0.59 drops the endpoint's port, takes unknown host names for domains bound to one bucket, keeps the
//! first credential for ever, does not retry 408 and 429, and takes an error inside a 200 answer to
//! CompleteMultipartUpload for success. Every OBS request passes here, so here it is put right:
//!
//! - each request is signed anew, with the credential of the moment and the bucket as signed resource;
//! - it goes to the endpoint as configured: host, port, and the bucket in front of the host (an IP address
//!   has no room for that; there the path begins with the bucket);
//! - 408 and 429 become 503, which the retry layer understands;
//! - a CompleteMultipartUpload that did not complete becomes an error.
//!
//! Signature: Huawei OBS, "User Signature Authentication", header form. The host is not part of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use http::header::{AUTHORIZATION, DATE};
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri};
use opendal::raw::ServiceOperation;
use opendal::services::Obs;
use opendal::{
    Buffer, Error, ErrorKind, HttpBody, HttpTransport, HttpTransporter, OperationContext, Operator, Result,
};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqsign_core::{Context, SignRequest};
use reqsign_huaweicloud_obs::RequestSigner;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::storage::credentials::Credentials;
use crate::storage::location::Endpoint;

/// A host that does not answer a connection in this time is treated as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection pool of all buckets. `resolve`: connect there whatever a host's name resolves to.
pub fn client(resolve: Option<SocketAddr>) -> reqwest::Result<reqwest::Client> {
    // Bodies are data, also those stored with a Content-Encoding: never decoded on the way.
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .http1_only()
        // A redirect would take the security token to another host.
        .redirect(reqwest::redirect::Policy::none())
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate();
    if let Some(address) = resolve {
        // A proxy would resolve the name by itself.
        builder = builder.dns_resolver(Arc::new(Fixed(address))).no_proxy();
    }
    builder.build()
}

/// Every name is at one address.
struct Fixed(SocketAddr);

impl Resolve for Fixed {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(std::iter::once(self.0));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// The transport of one bucket.
pub struct Transport {
    http: ReqwestTransport,
    credentials: Arc<Credentials>,
    signer: RequestSigner,
    /// `scheme://authority[/bucket]`.
    base: String,
}

impl Transport {
    /// Requests of `bucket` go through `client` to `endpoint`. With `resolved`, the port is that of the fixed
    /// address.
    pub fn new(
        client: reqwest::Client,
        credentials: Arc<Credentials>,
        endpoint: &Endpoint,
        bucket: &str,
        resolved: bool,
    ) -> Transport {
        let Endpoint { scheme, host, port } = endpoint;
        let port = match port {
            // An address is not resolved, so its port stands.
            Some(port) if !resolved || endpoint.is_address() => format!(":{port}"),
            _ => String::new(),
        };
        let base = if endpoint.is_address() {
            format!("{scheme}://{host}{port}/{bucket}")
        } else {
            format!("{scheme}://{bucket}.{host}{port}")
        };
        Transport {
            http: ReqwestTransport::new(client),
            credentials,
            signer: RequestSigner::new(bucket),
            base,
        }
    }

    async fn sign(&self, parts: &mut Parts) -> Result<()> {
        let credential = self
            .credentials
            .current()
            .map_err(|failure| Error::new(ErrorKind::ConfigInvalid, "no credentials").set_source(failure))?;
        for header in ["authorization", "date", "x-obs-security-token"] {
            parts.headers.remove(header);
        }
        self.signer.sign_request(&Context::new(), parts, Some(&credential), None).await.map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the request could not be signed").set_source(error)
        })?;
        debug_assert!(parts.headers.contains_key(AUTHORIZATION) && parts.headers.contains_key(DATE));
        Ok(())
    }

    fn route(&self, parts: &mut Parts) -> Result<()> {
        let path = parts.uri.path();
        let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        parts.uri = format!("{}{path}{query}", self.base).parse::<Uri>().map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the request has no valid address").set_source(error)
        })?;
        Ok(())
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let completes =
            matches!(request.extensions().get(), Some(ServiceOperation("CompleteMultipartUpload")));
        let (mut parts, body) = request.into_parts();
        self.sign(&mut parts).await?;
        self.route(&mut parts)?;
        let mut response = self.http.fetch(Request::from_parts(parts, body)).await?;
        if matches!(response.status(), StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        if completes { check_completion(response).await } else { Ok(response) }
    }
}

/// The keys below `prefix` in a bucket, through its transport.
pub fn open(transport: HttpTransporter, endpoint: &Endpoint, bucket: &str, prefix: &str) -> Result<Operator> {
    let context = OperationContext::new().with_http_transport(transport);
    // Address and keys are placeholders: the transport routes and signs every request itself.
    let backend = Obs::default()
        .endpoint(&format!("{}://{bucket}.{}", endpoint.scheme, endpoint.host))
        .bucket(bucket)
        .root(prefix)
        .access_key_id("signed-by-the-transport")
        .secret_access_key("signed-by-the-transport");
    Ok(Operator::new(backend)?.with_context(context))
}

/// OBS may answer 200, keep the connection open while it works, and then report an error in the body.
async fn check_completion(response: Response<HttpBody>) -> Result<Response<HttpBody>> {
    let (mut parts, mut body) = response.into_parts();
    let mut bytes = body.to_buffer().await?.to_bytes();
    let completed = bytes.windows(COMPLETED.len()).any(|window| window == COMPLETED);
    if parts.status.is_success() && !completed {
        parts.status = StatusCode::INTERNAL_SERVER_ERROR;
    }
    if bytes.is_empty() {
        // The backend reads the body before the status: it must be XML.
        bytes = bytes::Bytes::from_static(b"<Error></Error>");
    }
    let size = bytes.len() as u64;
    let body = HttpBody::new(stream::iter([Ok(Buffer::from(bytes))]), Some(size));
    Ok(Response::from_parts(parts, body))
}

/// The root element of the answer to a multipart upload that completed.
const COMPLETED: &[u8] = b"<CompleteMultipartUploadResult";
