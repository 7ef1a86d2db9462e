//! Credentials: fixed ones, or a file that something else renews.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use reqsign_huaweicloud_obs::Credential;

use crate::config::{self, env_file};
use crate::failure::{Failure, Kind, Stage};
use crate::telemetry;

/// How often the file is looked at. Temporary keys live for at least a quarter of an hour.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long refusals may still be about the credentials of before.
const JUST_RENEWED: Duration = Duration::from_secs(30);

/// The credentials of the OBS server.
#[derive(Debug)]
pub struct Credentials {
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Option<Credential>,
    modified: Option<SystemTime>,
    renewed: Option<Instant>,
    looked: Option<Instant>,
    /// Why the file could not be read the last time.
    unreadable: Option<String>,
}

impl Credentials {
    /// The credentials that the configuration names.
    pub fn new(storage: &config::Storage) -> Credentials {
        let fixed = storage.access_key.as_ref().zip(storage.secret_key.as_ref()).map(|(access, secret)| {
            let token = storage.security_token.as_ref().map(|token| token.reveal().to_owned());
            Credential::new(access.clone(), secret.reveal().to_owned(), token)
        });
        let state = State { current: fixed, modified: None, renewed: None, looked: None, unreadable: None };
        Credentials { file: storage.credentials_file.clone(), state: Mutex::new(state) }
    }

    /// The credential to sign with now.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] when there is none.
    pub fn current(&self) -> Result<Credential, Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &self.file
            && state.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY)
        {
            state.looked = Some(Instant::now());
            look(file, &mut state);
        }
        state.current.clone().ok_or_else(|| {
            let context = match &state.unreadable {
                Some(reason) => format!("no OBS credentials: OBS_CREDENTIALS_FILE cannot be used: {reason}"),
                None => "no OBS credentials: set OBS_ACCESS_KEY and OBS_SECRET_KEY, or OBS_CREDENTIALS_FILE"
                    .to_owned(),
            };
            Failure::new(Stage::Download, Kind::Misconfigured, context)
        })
    }
}

impl Credentials {
    /// Whether the file changed a moment ago: a refusal may concern the credentials of before. Looks at once.
    pub fn were_just_renewed(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &self.file {
            look(file, &mut state);
        }
        state.renewed.is_some_and(|renewed| renewed.elapsed() < JUST_RENEWED)
    }
}

/// Reads the file again when it changed. What cannot be read leaves the old credentials in use: a file is
/// often replaced in two steps.
fn look(file: &Path, state: &mut State) {
    let modified = match std::fs::metadata(file).and_then(|metadata| metadata.modified()) {
        Ok(modified) => modified,
        Err(error) => {
            state.unreadable = Some(error.to_string());
            return telemetry::credentials_unreadable(file, &error);
        }
    };
    if state.modified == Some(modified) {
        return;
    }
    match read(file) {
        Ok(credential) => {
            // The first reading renews nothing.
            state.renewed = state.modified.map(|_| Instant::now());
            state.current = Some(credential);
            state.modified = Some(modified);
            state.unreadable = None;
            telemetry::credentials_reloaded(file);
        }
        Err(reason) => {
            telemetry::credentials_unreadable(file, &reason);
            state.unreadable = Some(reason);
        }
    }
}

fn read(file: &Path) -> Result<Credential, String> {
    let (mut access, mut secret, mut token) = (None, None, None);
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let env_file::EnvFile { variables, unread } = env_file::parse(&text, |_| None);
    if let Some(line) = unread.first() {
        return Err(format!("line {line} is not NAME=value"));
    }
    for (name, value) in variables {
        match name.as_str() {
            "OBS_ACCESS_KEY" => access = Some(value),
            "OBS_SECRET_KEY" => secret = Some(value),
            "OBS_SECURITY_TOKEN" => token = Some(value).filter(|token| !token.is_empty()),
            _ => {}
        }
    }
    match (access, secret) {
        (Some(access), Some(secret)) => Ok(Credential::new(access, secret, token)),
        _ => Err("it must set OBS_ACCESS_KEY and OBS_SECRET_KEY".to_owned()),
    }
}
