#!/usr/bin/env python3
"""One operation on an OBS bucket, done by Huawei's own SDK.

The tests use it as a client that shares no code with the worker: what it wrote the worker must read, what the worker
wrote it must read. It prints one JSON line and exits with 0, or with 1 and the reason in "error".

    sdk.py put --server http://obs.test-1.myhuaweicloud.com:9000 --bucket in --key a.csv --file a.csv

A host name goes to --resolve (127.0.0.1) whatever DNS says, with the bucket in front of it and the OBS signature, as in
production. An IP address in --server makes the SDK use path style and the AWS signature.
The keys come from --access-key and --secret-key, else from OBS_ACCESS_KEY_ID and OBS_SECRET_ACCESS_KEY.
"""

import argparse
import hashlib
import http.client
import json
import os
import socket
import sys
from urllib.parse import urlsplit

from obs import CompleteMultipartUploadRequest, CompletePart, DeleteObjectsRequest, GetObjectHeader, Object
from obs import ObsClient, PutObjectHeader

BLOCK_BYTES = 1 << 20


class Refused(Exception):
    """An answer that is no success."""


def checked(answer):
    """The answer, if it is a success."""
    if answer.status >= 300:
        raise Refused(f"{answer.status} {answer.errorCode or ''}: {answer.errorMessage or answer.reason or ''}")
    return answer


def put(client, args):
    headers = PutObjectHeader(contentType=args.content_type)
    answer = checked(client.putFile(args.bucket, args.key, args.file, metadata=metadata(args), headers=headers))
    return {"etag": answer.body.etag, "size": os.path.getsize(args.file)}


def get(client, args):
    headers = GetObjectHeader(range=args.range)
    answer = checked(client.getObject(args.bucket, args.key, headers=headers))
    digest, size = hashlib.md5(), 0
    with open(args.file or os.devnull, "wb") as file:
        while block := answer.body.response.read(BLOCK_BYTES):
            file.write(block)
            digest.update(block)
            size += len(block)
    announced = int(dict(answer.header)["content-length"])
    if size != announced:
        raise Refused(f"the body has {size} of {announced} bytes")
    return {"etag": dict(answer.header).get("etag"), "size": size, "md5": digest.hexdigest()}


def head(client, args):
    answer = checked(client.getObjectMetadata(args.bucket, args.key))
    body = answer.body
    # Metadata is among the headers: the SDK takes the `x-obs-meta-` off its names.
    headers = dict(answer.header)
    return {"etag": body.etag, "size": body.contentLength, "content_type": body.contentType, "headers": headers}


def list_objects(client, args):
    """All pages, of --max-keys entries each."""
    keys, prefixes, pages, marker = [], [], 0, None
    while True:
        answer = client.listObjects(
            args.bucket,
            prefix=args.prefix,
            delimiter=args.delimiter,
            marker=marker,
            max_keys=args.max_keys,
            encoding_type=args.encoding_type,
        )
        body = checked(answer).body
        keys += [{"key": item.key, "size": item.size, "etag": item.etag} for item in body.contents]
        prefixes += [item.prefix for item in body.commonPrefixs]
        pages += 1
        if not body.is_truncated:
            return {"keys": keys, "prefixes": prefixes, "pages": pages}
        marker = body.next_marker


def delete(client, args):
    answer = checked(client.deleteObject(args.bucket, args.key))
    return {"status": answer.status}


def delete_many(client, args):
    """Keys separated by line ends."""
    request = DeleteObjectsRequest(quiet=False, objects=[Object(key=key) for key in args.key.splitlines()])
    answer = checked(client.deleteObjects(args.bucket, request))
    return {"deleted": [item.key for item in answer.body.deleted]}


def copy(client, args):
    answer = checked(client.copyObject(args.bucket, args.source, args.bucket, args.key))
    return {"etag": answer.body.etag}


def append(client, args):
    with open(args.file, "rb") as file:
        content = {"position": args.position, "content": file.read()}
    answer = checked(client.appendObject(args.bucket, args.key, content=content))
    return {"etag": answer.body.etag, "next_position": answer.body.nextPosition}


def multipart_put(client, args):
    begun = client.initiateMultipartUpload(
        args.bucket, args.key, contentType=args.content_type, metadata=metadata(args)
    )
    upload = checked(begun).body.uploadId
    try:
        parts, size = [], os.path.getsize(args.file)
        for number, offset in enumerate(range(0, max(size, 1), args.part_bytes), start=1):
            length = min(args.part_bytes, size - offset)
            answer = client.uploadPart(
                args.bucket, args.key, number, upload, args.file, isFile=True, partSize=length, offset=offset
            )
            parts.append(CompletePart(partNum=number, etag=checked(answer).body.etag))
        request = CompleteMultipartUploadRequest(parts=parts)
        body = checked(client.completeMultipartUpload(args.bucket, args.key, upload, request)).body
        return {"etag": body.etag, "size": size, "parts": len(parts)}
    except BaseException:
        client.abortMultipartUpload(args.bucket, args.key, upload)
        raise


def abort(client, args):
    """Begins a multipart upload, sends one part, and thinks better of it."""
    upload = checked(client.initiateMultipartUpload(args.bucket, args.key)).body.uploadId
    checked(client.uploadPart(args.bucket, args.key, 1, upload, b"forgotten"))
    listed = checked(client.listParts(args.bucket, args.key, upload)).body.parts
    return {"parts": len(listed), "status": checked(client.abortMultipartUpload(args.bucket, args.key, upload)).status}


def presigned_get(client, args):
    """Reads through a presigned URL, without any other authorization."""
    signed = client.createSignedUrl("GET", args.bucket, args.key, expires=300)
    url = urlsplit(signed.signedUrl)
    connection = http.client.HTTPConnection(url.hostname, url.port)
    connection.request("GET", f"{url.path}?{url.query}", headers=dict(signed.actualSignedRequestHeaders))
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise Refused(f"{answer.status}: {body.decode()}")
    if args.file:
        with open(args.file, "wb") as file:
            file.write(body)
    return {"etag": answer.getheader("etag"), "size": len(body), "md5": hashlib.md5(body).hexdigest()}


OPERATIONS = {
    "put": put,
    "get": get,
    "head": head,
    "list": list_objects,
    "delete": delete,
    "delete-many": delete_many,
    "copy": copy,
    "append": append,
    "multipart-put": multipart_put,
    "abort": abort,
    "presigned-get": presigned_get,
}


def metadata(args):
    return dict(pair.split("=", 1) for pair in args.metadata) or None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operation", choices=OPERATIONS)
    parser.add_argument("--server", required=True, help="http://host:port")
    parser.add_argument("--resolve", default="127.0.0.1", help="the address that every host name stands for")
    parser.add_argument("--access-key", default=os.environ.get("OBS_ACCESS_KEY_ID"))
    parser.add_argument("--secret-key", default=os.environ.get("OBS_SECRET_ACCESS_KEY"))
    parser.add_argument("--token", default=os.environ.get("OBS_SECURITY_TOKEN"))
    parser.add_argument("--signature", default="obs", choices=["obs", "v2", "v4"])
    parser.add_argument("--negotiate", action="store_true", help="ask the server for its signature first")
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--key")
    parser.add_argument("--file", help="what to send, or where to write")
    parser.add_argument("--source", help="copy: the key of the original")
    parser.add_argument("--range", help="get: first-last, both included")
    parser.add_argument("--position", type=int, default=0, help="append: the object's length")
    parser.add_argument("--content-type")
    parser.add_argument("--metadata", action="append", default=[], help="name=value")
    parser.add_argument("--part-bytes", type=int, default=5 << 20)
    parser.add_argument("--prefix")
    parser.add_argument("--delimiter")
    parser.add_argument("--max-keys", type=int)
    parser.add_argument("--encoding-type")
    return parser.parse_args()


def resolve_names_to(address):
    """Sends every host name to one address; the SDK knows no other way to a server that DNS does not know."""
    known = socket.getaddrinfo
    socket.getaddrinfo = lambda host, port, *rest, **named: known(address, port, *rest, **named)


def main():
    args = arguments()
    resolve_names_to(args.resolve)
    client = ObsClient(
        access_key_id=args.access_key,
        secret_access_key=args.secret_key,
        security_token=args.token,
        server=args.server,
        signature=args.signature,
        is_signature_negotiation=args.negotiate,
        max_retry_count=0,
        timeout=60,
    )
    try:
        result = OPERATIONS[args.operation](client, args)
    except Exception as error:
        print(json.dumps({"ok": False, "error": f"{type(error).__name__}: {error}"}))
        return 1
    finally:
        client.close()
    print(json.dumps({"ok": True, **result}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
