//! What can happen to a broker of one's own: it is killed and starts again, or does not answer for a while.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use super::Apache;

/// A broker on its own that was killed has no leaders for a few seconds after its start, until its old session has ended.
/// Apache Kafka 4.3.1 takes a transaction that times out just then for ended without telling its partitions, whose readers
/// wait for ever. So it looks for such transactions later than in other tests; by default it is every 10 s.
const LATE_LOOK: &str = "transaction.abort.timed.out.transaction.cleanup.interval.ms=6000";

impl Apache {
    /// Starts a broker of one's own in a folder, with what an earlier one has left there: its topics, and its address. What
    /// it complains of is in a file beside the folder: that it was killed is no news.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn start_in(folder: &Path) -> Result<Apache, String> {
        let log = folder.with_extension("log");
        let complaints = File::options().create(true).append(true).open(&log);
        let complaints = complaints.map_err(|error| format!("{}: {error}", log.display()))?;
        let folder = folder.to_str().ok_or("the folder's path is no text")?;
        Apache::run(&["--dir", folder, "--with", LATE_LOOK], complaints.into())
            .map_err(|why| format!("{why} (in {})", log.display()))
    }

    /// Kills the broker, so that it can finish nothing.
    ///
    /// # Errors
    /// When it is none of one's own.
    pub fn kill(self) -> Result<(), String> {
        self.signal("KILL")
    }

    /// Sends the broker a signal by its name: `STOP`, and it does not answer until `CONT`.
    ///
    /// # Errors
    /// When it is none of one's own, or there is no such signal.
    pub fn signal(&self, name: &str) -> Result<(), String> {
        let id = self.id.ok_or("not a broker of one's own")?.to_string();
        let sent = Command::new("kill").args([format!("-{name}"), id]).status();
        match sent.map_err(|error| error.to_string())?.success() {
            true => Ok(()),
            false => Err(format!("kill -{name} failed")),
        }
    }
}
