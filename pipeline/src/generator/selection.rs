//! Which objects of a bucket become tasks.

use std::sync::Arc;

use futures::{Stream, TryStreamExt, future};
use jiff::Timestamp;

use crate::config;
use crate::failure::{Failure, Stage};
use crate::generator::NewTask;
use crate::pattern::{Globs, Since};
use crate::storage::{Listed, Storage};

/// A choice of objects, and where their summaries go.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The bucket.
    pub bucket: String,
    /// Keys begin with this; empty for all.
    pub prefix: String,
    /// Only keys that match; all when there is no glob.
    pub include: Globs,
    /// No keys that match.
    pub exclude: Globs,
    /// Objects of at least so many bytes.
    pub size_min: u64,
    /// Objects of at most so many bytes.
    pub size_max: Option<u64>,
    /// Objects written at or after this. Those of which the storage tells no time are taken: rather a task too many.
    pub modified_since: Option<Since>,
    /// Where the summaries go.
    pub dest_bucket: Option<String>,
}

impl Selection {
    /// What the variables of the generator say. `bucket`: the one they name.
    pub fn new(bucket: String, generator: &config::Generator) -> Selection {
        Selection {
            bucket,
            prefix: generator.prefix.clone(),
            include: generator.include.clone(),
            exclude: generator.exclude.clone(),
            size_min: generator.size_min.0,
            size_max: generator.size_max.map(|max| max.0),
            modified_since: generator.modified_since.clone(),
            dest_bucket: generator.dest_bucket.clone(),
        }
    }

    fn takes(&self, object: &Listed, since: Option<Timestamp>) -> bool {
        object.key.starts_with(&self.prefix)
            && (self.include.is_empty() || self.include.matches(&object.key))
            && !self.exclude.matches(&object.key)
            && object.size >= self.size_min
            && self.size_max.is_none_or(|size_max| object.size <= size_max)
            && since.zip(object.modified).is_none_or(|(since, modified)| modified >= since)
    }

    /// The tasks of the selected objects, as the listing arrives.
    ///
    /// # Errors
    /// When the listing cannot begin; later errors come in the stream.
    pub async fn tasks(
        &self,
        storage: &Arc<Storage>,
    ) -> Result<impl Stream<Item = Result<NewTask, Failure>> + Send + Unpin + use<>, Failure> {
        let bucket = storage.bucket(&self.bucket, Stage::Claim)?;
        let listing = bucket.list(&self.prefix).await?;
        let since = self.modified_since.as_ref().map(|since| since.moment(Timestamp::now()));
        let selection = self.clone();
        Ok(listing.try_filter_map(move |object| {
            let task = selection.takes(&object, since).then(|| NewTask {
                dest_bucket: selection.dest_bucket.clone(),
                ..NewTask::of(&selection.bucket, object)
            });
            future::ready(Ok(task))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, size: u64) -> Listed {
        Listed { key: key.into(), size, ..Listed::default() }
    }

    #[test]
    fn a_selection_is_a_prefix_and_sizes() {
        let selection = Selection {
            prefix: "data/2024".into(),
            size_min: 10,
            size_max: Some(20),
            ..Selection::default()
        };
        let takes = |key: &str, size| selection.takes(&object(key, size), None);
        assert!(takes("data/2024-08/a.csv", 10) && takes("data/2024/a.csv", 20));
        assert!(
            !takes("data/2023/a.csv", 10) && !takes("data/2024/a.csv", 9) && !takes("data/2024/a.csv", 21)
        );
    }

    #[test]
    fn and_globs() {
        let selection = Selection {
            include: "**/*.csv".parse().unwrap(),
            exclude: "tmp/**".parse().unwrap(),
            ..Selection::default()
        };
        let takes = |key: &str| selection.takes(&object(key, 1), None);
        assert!(takes("a.csv") && takes("data/a.csv"));
        assert!(!takes("data/a.json") && !takes("tmp/a.csv"));
    }

    #[test]
    fn and_a_time() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let selection = Selection::default();
        let takes = |modified| {
            let object = Listed { modified, ..object("a", 1) };
            selection.takes(&object, Some(time("2025-08-25T12:00:00Z")))
        };
        assert!(takes(Some(time("2025-08-25T12:00:00Z"))) && takes(None));
        assert!(!takes(Some(time("2025-08-25T11:59:59Z"))));
    }
}
