//! What goes wrong, when, and how often: the plan of faults.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::Op;

/// One planned fault. Matching requests consume it in the order of their arrival.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which bucket; `*` stands for any text.
    pub bucket: String,
    /// Which key, or of a listing which prefix; `*` stands for any text.
    pub key: String,
    /// Which operation.
    pub operation: Op,
    /// How many matching requests go well first.
    pub skip: usize,
    /// How many matching requests are hit then.
    pub times: usize,
    /// What happens to them.
    pub effect: Effect,
}

impl Fault {
    /// Hits the first request for `operation`, whatever its bucket and key.
    pub fn new(operation: Op, effect: Effect) -> Self {
        Fault { bucket: "*".to_owned(), key: "*".to_owned(), operation, skip: 0, times: 1, effect }
    }

    /// Only in buckets that match `pattern`.
    pub fn in_bucket(self, pattern: &str) -> Self {
        Fault { bucket: pattern.to_owned(), ..self }
    }

    /// Only on keys (of a listing: prefixes) that match `pattern`.
    pub fn on(self, pattern: &str) -> Self {
        Fault { key: pattern.to_owned(), ..self }
    }

    /// Lets the first `skip` matching requests go well.
    pub fn after(self, skip: usize) -> Self {
        Fault { skip, ..self }
    }

    /// Hits `times` requests.
    pub fn times(self, times: usize) -> Self {
        Fault { times, ..self }
    }

    /// Hits every request.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }
}

/// What a fault does. The signature is checked first: a request that is not allowed is refused, not hit.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Answers with this status and an XML error of this code; nothing is done.
    Status(u16, &'static str),
    /// Answers with this status and no body; nothing is done.
    EmptyStatus(u16),
    /// Answers 200 with an XML error in the body, as a completion may; nothing is done.
    OkWithError,
    /// Closes the connection once the head of the request has been read; nothing is done.
    Hangup,
    /// Does the work, then closes the connection without an answer.
    LostAnswer,
    /// Does the work, then never answers; the connection stays open until the client leaves.
    StalledAnswer,
    /// Announces the whole body, sends half of it, closes the connection.
    CutBody,
    /// Announces the whole body, sends half of it, then nothing; the connection stays open until the client
    /// leaves.
    StalledBody,
    /// Sends the body at this many bytes per second.
    SlowBody(u64),
    /// Sends the first `after` bytes of the body, then replaces the object under the reader's hands and, if
    /// the body was longer, closes the connection. Of a `HEAD` the object is replaced right after the answer.
    Replace {
        /// Bytes of the old object that still arrive, counted from the start of this answer.
        after: u64,
        /// The new object.
        bytes: Bytes,
    },
}

/// The plan of a server. A clone is the same plan.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    /// Adds a fault behind those already planned; of several that match a request, the oldest hits.
    pub fn add(&self, fault: Fault) {
        self.plan().push(fault);
    }

    /// Forgets every fault.
    pub fn clear(&self) {
        self.plan().clear();
    }

    /// How many planned hits have not happened. A fault for `always` counts as one.
    pub fn left(&self) -> usize {
        self.plan().iter().map(|fault| if fault.times == usize::MAX { 1 } else { fault.times }).sum()
    }

    /// The effect on this request, which is consumed.
    pub(super) fn take(&self, operation: Op, bucket: &str, key: &str) -> Option<Effect> {
        for fault in self.plan().iter_mut() {
            let hit =
                fault.operation == operation && matches(&fault.bucket, bucket) && matches(&fault.key, key);
            match (hit, fault.skip, fault.times) {
                (false, _, _) | (true, 0, 0) => {}
                (true, 0, usize::MAX) => return Some(fault.effect.clone()),
                (true, 0, _) => {
                    fault.times -= 1;
                    return Some(fault.effect.clone());
                }
                (true, _, _) => fault.skip -= 1,
            }
        }
        None
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().expect("no panic while the plan is held")
    }
}

/// Whether `text` matches `pattern`, in which each `*` stands for any text.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(first) else { return false };
    text.char_indices().map(|(at, _)| &text[at..]).chain([""]).any(|tail| matches(rest, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text) in
            [("*", ""), ("*", "a/b"), ("in/*.csv", "in/a/b.csv"), ("a*b*c", "abbc"), ("é*", "éa")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("in/*.csv", "in/a.csvx"), ("a*b*c", "acb"), ("a", "ab")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_oldest_fault_hits_and_is_used_up() {
        let faults = Faults::default();
        faults.add(Fault::new(Op::Get, Effect::EmptyStatus(1)).on("a*").after(1).times(2));
        faults.add(Fault::new(Op::Get, Effect::EmptyStatus(2)).always());
        let hit = |op, key| match faults.take(op, "b", key) {
            Some(Effect::EmptyStatus(status)) => status,
            _ => 0,
        };
        assert_eq!(hit(Op::Put, "a"), 0);
        assert_eq!(["a", "z", "a", "a", "a"].map(|key| hit(Op::Get, key)), [2, 2, 1, 1, 2]);
        assert_eq!(faults.left(), 1);
        faults.clear();
        assert_eq!((hit(Op::Get, "a"), faults.left()), (0, 0));
    }
}
