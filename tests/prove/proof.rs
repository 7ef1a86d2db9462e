//! One mode of the proof: the fleet lives through the schedule, everything comes to its end, the oracle judges.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kit::kafka::{Client, Topics};
use kit::live::{variables, with};
use kit::proof::oracle::{Judgement, judge};
use kit::proof::schedule::{Boundary, Plan, Schedule, Storm, Trouble};

use crate::field::{Broker, PARTITIONS, Seldom, Work, wait_for_no_lag, wait_until_settled};
use crate::fleet::{Fates, Fleet};

/// Tasks that are there before the first worker is.
const HEAD_START: usize = 200;
/// Tasks that come when a worker did not have enough of them to die at its boundary.
const SUPPLEMENT: usize = 40;
/// How often it is looked whose time has come.
const TICK: Duration = Duration::from_millis(10);
/// How often it is said how far the proof is.
const REPORT_EVERY: Duration = Duration::from_secs(30);

/// What came of it.
pub struct Proof {
    /// Whether results were published in transactions.
    pub exactly_once: bool,
    /// How long it took.
    pub seconds: f64,
    /// What happened to the workers.
    pub fates: Fates,
    /// Faults of the storage, and the requests that they hit.
    pub storms: (usize, usize),
    /// Faults of the broker.
    pub troubles: usize,
    /// What is only counted.
    pub seldom: Seldom,
    /// What the oracle says.
    pub judgement: Judgement,
}

impl Proof {
    /// Carries a plan out. `rebalances`: as many there must be at the least.
    ///
    /// # Panics
    /// When it cannot go on.
    pub async fn carry_out(
        plan: &Plan,
        rebalances: usize,
        broker: &mut Broker,
        work: &Work,
        calm: &BTreeMap<String, Vec<u8>>,
    ) -> Proof {
        let begun = Instant::now();
        let schedule = Schedule::new(plan);
        let topics = Topics::new("prove");
        let client = Client::new(&broker.bootstrap, &topics);
        client.create_topics(PARTITIONS).await;
        let mut feed = Feed { client: &client, messages: &work.messages, sent: 0 };
        feed.send_up_to(HEAD_START).await;
        let settings = settings(&broker.bootstrap, &topics, work, plan.exactly_once);
        let mut fleet = Fleet::start(&schedule, &settings, PARTITIONS, plan.of_the_kit);
        let mut weather = Weather { storms: &schedule.storage, troubles: &schedule.broker, hits: 0 };
        live(&mut fleet, &mut feed, &mut weather, broker, work, &schedule).await;
        while client.group_history().generations.len() < rebalances {
            fleet.renew();
            live(&mut fleet, &mut feed, &mut weather, broker, work, &schedule).await;
        }
        feed.send_up_to(usize::MAX).await;
        let missed = work.server.faults().left();
        work.server.faults().clear();
        // What does not come to its end is told by the oracle.
        wait_for_no_lag(&client, || fleet.tick()).await;
        fleet.dismiss().await;
        wait_until_settled(&client, &topics).await;
        let diaries = std::mem::take(&mut fleet.diaries);
        let (history, seldom) = work.history(&client, &topics, plan.exactly_once, calm, diaries);
        Proof {
            exactly_once: plan.exactly_once,
            seconds: begun.elapsed().as_secs_f64(),
            fates: fleet.fates,
            storms: (schedule.storage.len(), weather.hits - missed),
            troubles: schedule.broker.len(),
            seldom,
            judgement: judge(&history),
        }
    }

    /// Whether a promise was broken.
    pub fn is_broken(&self) -> bool {
        !self.judgement.broken.is_empty() || !self.fates.unruly.is_empty()
    }

    /// Whether there was as much of everything as was wanted, and somebody died at each boundary.
    pub fn is_enough(&self, kills: usize, rebalances: usize) -> bool {
        let boundaries = Boundary::all(self.exactly_once).len().min(kills);
        self.fates.kills() >= kills
            && self.fates.at_boundaries.len() >= boundaries
            && self.seldom.generations >= rebalances
    }
}

/// The tasks of a proof, on their way into the topic.
struct Feed<'a> {
    client: &'a Client,
    messages: &'a [String],
    sent: usize,
}

impl Feed<'_> {
    async fn send_up_to(&mut self, due: usize) {
        let due = due.min(self.messages.len());
        if due > self.sent {
            self.client.send(&self.messages[self.sent..due], PARTITIONS).await;
            self.sent = due;
        }
    }
}

/// The faults that are still to come.
struct Weather<'a> {
    storms: &'a [(usize, Storm, usize)],
    troubles: &'a [(usize, Trouble)],
    hits: usize,
}

/// Until the last life of the schedule has ended, and the broker is well.
async fn live(
    fleet: &mut Fleet,
    feed: &mut Feed<'_>,
    weather: &mut Weather<'_>,
    broker: &mut Broker,
    work: &Work,
    schedule: &Schedule,
) {
    let lives = schedule.lives().count();
    let (begun, mut reported) = (Instant::now(), Instant::now());
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        fleet.tick();
        while let Some(((at, storm, hits), later)) = weather.storms.split_first()
            && *at <= fleet.ended
        {
            weather.hits += work.storm(*storm, *hits);
            weather.storms = later;
        }
        // While the broker is in trouble nothing is sent to it: a task sent twice would be two tasks.
        if !broker.is_in_trouble().await {
            if fleet.has_lived() {
                return;
            }
            let rest = feed.messages.len().saturating_sub(HEAD_START);
            let due = HEAD_START + rest * fleet.ended / lives.max(1) + SUPPLEMENT * fleet.missed;
            feed.send_up_to(due).await;
            if let Some(((at, trouble), later)) = weather.troubles.split_first()
                && *at <= fleet.ended
            {
                broker.meet(*trouble);
                weather.troubles = later;
            }
        }
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            // Nobody reads them, and they are many.
            work.server.clear_requests();
            println!("{:.0} s: {} of {lives} lives", begun.elapsed().as_secs_f64(), fleet.ended);
        }
    }
}

/// The settings of the workers: everything that waits, waits briefly.
fn settings(bootstrap: &str, topics: &Topics, work: &Work, exactly_once: bool) -> Vec<(String, String)> {
    let flag = if exactly_once { "true" } else { "false" };
    with(
        variables(bootstrap, topics, &work.server),
        &[
            ("KAFKA_EXACTLY_ONCE", flag),
            ("KAFKA_LIBRDKAFKA_TRANSACTION_TIMEOUT_MS", "4000"),
            ("KAFKA_SESSION_TIMEOUT_MS", "3000"),
            ("KAFKA_MAX_POLL_RECORDS", "64"),
            ("POOL_SIZE", "1"),
            // Time-outs and failures of the storage are for passing: no task may fail because there were many.
            ("PIPELINE_ATTEMPTS_MAX", "1000"),
            ("PIPELINE_RETRY_MIN_MS", "50"),
            ("PIPELINE_RETRY_MAX_MS", "500"),
            ("PIPELINE_DOWNLOAD_TIMEOUT_MS", "3000"),
            ("PIPELINE_PARSE_TIMEOUT_MS", "3000"),
            ("PIPELINE_UPLOAD_TIMEOUT_MS", "3000"),
            // A file is not to be blamed for kills that others do.
            ("PIPELINE_DEATHS_MAX", "100"),
        ],
    )
}
