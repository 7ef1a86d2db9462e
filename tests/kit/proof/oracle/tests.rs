//! Hand-made histories: a good one, and for each promise one that breaks it and nothing else.

use super::*;

/// Two partitions: in the first a success, a failure and a success that is finished before them; in the second a success.
/// Two workers: the second one gets the first partition when the first one is dead, and runs again what was in flight.
fn good() -> History {
    let success = |key: &str| Some(Expected::Success(key.to_owned()));
    let tasks =
        [((0, 0), success("a")), ((0, 1), Some(Expected::Failure("not_found"))), ((0, 2), success("c"))];
    let seen = |task, failure: Option<&str>, at_ms| Seen { task, failure: failure.map(str::to_owned), at_ms };
    let commit = |partition, at_ms, next, finished: &[i64]| Commit {
        partition,
        at_ms,
        next,
        finished: finished.iter().copied().collect(),
    };
    let artefacts: BTreeMap<String, Vec<u8>> =
        ["a", "c", "d"].map(|key| (key.to_owned(), key.as_bytes().to_vec())).into();
    History {
        exactly_once: true,
        tasks: tasks.into_iter().chain([((1, 0), success("d"))]).collect(),
        results: vec![
            seen((0, 2), None, 30),
            seen((1, 0), None, 35),
            seen((0, 0), None, 80),
            seen((0, 1), Some("not_found"), 90),
        ],
        letters: vec![(0, 1)],
        calm: artefacts.clone(),
        artefacts,
        commits: vec![
            commit(0, 10, 0, &[]),
            commit(0, 40, 0, &[2]),
            commit(1, 50, 1, &[]),
            commit(0, 85, 1, &[2]),
            commit(0, 95, 3, &[]),
        ],
        diaries: vec![
            Diary {
                assigned: vec![(10, 0), (11, 1)],
                begun: vec![(20, (0, 0)), (20, (0, 1)), (20, (0, 2)), (21, (1, 0))],
            },
            Diary { assigned: vec![(60, 0)], begun: vec![(70, (0, 0)), (70, (0, 1))] },
        ],
    }
}

fn broken(history: &History) -> BTreeMap<Promise, usize> {
    judge(history).broken.into_iter().map(|(promise, what)| (promise, what.len())).collect()
}

#[test]
fn a_good_history_breaks_nothing() {
    let judgement = judge(&good());
    assert_eq!(judgement.broken, BTreeMap::new());
    assert_eq!((judgement.succeeded, judgement.failed, judgement.repeats, judgement.begun), (3, 1, 0, 6));
}

#[test]
fn no_history_breaks_nothing() {
    assert_eq!(judge(&History::default()), Judgement::default());
}

#[test]
fn repeats_are_counted_where_they_may_be() {
    let mut history = good();
    history.exactly_once = false;
    let failed = history.results[3].clone();
    history.results.extend([history.results[0].clone(), failed.clone(), failed]);
    history.letters.push((0, 1));
    let judgement = judge(&history);
    assert_eq!((judgement.broken, judgement.repeats), (BTreeMap::new(), 3));
}

/// Each promise, and a history that breaks it alone.
#[test]
fn every_breach_is_found() {
    type Break = fn(&mut History);
    let breaches: [(&str, Promise, Break); 22] = [
        ("a result is missing", Promise::Outcome, |h| drop(h.results.remove(1))),
        ("a failure instead of a success", Promise::OneOutcome, |h| {
            h.exactly_once = false;
            h.results[0].failure = Some("timed_out".to_owned());
        }),
        ("the wrong kind of failure", Promise::OneOutcome, |h| {
            h.results[3].failure = Some("killed_worker".to_owned());
        }),
        ("success and failure", Promise::OneOutcome, |h| {
            h.exactly_once = false;
            h.results.push(Seen { failure: None, ..h.results[3].clone() });
        }),
        ("a result of nothing", Promise::Task, |h| {
            h.results.push(Seen { task: (1, 9), ..h.results[0].clone() });
        }),
        ("a dead letter of nothing", Promise::Task, |h| h.letters.push((7, 0))),
        ("a message that nobody sent", Promise::Task, |h| {
            h.tasks.insert((1, 0), None);
            h.artefacts.remove("d");
            h.calm.remove("d");
        }),
        ("a result twice", Promise::Once, |h| h.results.push(h.results[0].clone())),
        ("a dead letter twice", Promise::Once, |h| h.letters.push((0, 1))),
        ("a dead letter is missing", Promise::DeadLetter, |h| h.letters.clear()),
        ("a dead letter of a success", Promise::DeadLetter, |h| h.letters.push((0, 0))),
        ("an artefact is missing", Promise::Artefact, |h| drop(h.artefacts.remove("a"))),
        ("an artefact differs", Promise::Artefact, |h| drop(h.artefacts.insert("a".into(), b"b".to_vec()))),
        ("an artefact of a failure", Promise::Artefact, |h| drop(h.artefacts.insert("b".into(), Vec::new()))),
        ("an artefact that the calm run has not", Promise::Artefact, |h| drop(h.calm.remove("d"))),
        ("an offset goes back", Promise::Position, |h| {
            h.commits.insert(4, Commit { next: 0, ..h.commits[3].clone() });
        }),
        ("an offset is committed at its claim", Promise::Order, |h| h.results[1].at_ms = 51),
        ("an offset is remembered before its result", Promise::Order, |h| h.results[0].at_ms = 41),
        ("a remembered task begins again", Promise::Memory, |h| h.diaries[1].begun.push((71, (0, 2)))),
        ("a task before the committed offset begins again", Promise::Memory, |h| {
            h.diaries[1].assigned.push((61, 1));
            h.diaries[1].begun.push((71, (1, 0)));
        }),
        ("a task of a partition that is not the worker's", Promise::Memory, |h| {
            h.diaries[1].begun.push((71, (1, 0)));
        }),
        ("the last commit is missing", Promise::End, |h| drop(h.commits.pop())),
    ];
    for (what, promise, break_it) in breaches {
        let mut history = good();
        break_it(&mut history);
        assert_eq!(broken(&history), BTreeMap::from([(promise, 1)]), "{what}");
    }
    let tried: BTreeSet<Promise> = breaches.into_iter().map(|(_, promise, _)| promise).collect();
    assert_eq!(tried, BTreeSet::from(Promise::ALL), "every promise can be broken");
}

/// A worker that wakes up goes on with what it had before others finished it: that was in flight.
#[test]
fn what_was_claimed_before_it_was_finished_elsewhere_may_begin() {
    let mut history = good();
    history.diaries[0].begun.push((120, (0, 2)));
    assert_eq!(broken(&history), BTreeMap::new());
    // Under an assignment that came when it was remembered, it may not.
    history.diaries[0].assigned.push((110, 0));
    assert_eq!(broken(&history), BTreeMap::from([(Promise::Memory, 1)]));
}
