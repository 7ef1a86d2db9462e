//! The guide's worker commands (Worker处理器详解), its blocks of variables, and more than one worker (水平扩展).

use std::collections::BTreeSet;

use kit::kafka::{Topics, apache};
use pipeline::config::WorkerType::{self, MultiProcess, SingleProcess};
use pipeline::publish::{ResultMessage, ResultStatus};
use serde_json::json;

use super::shell::{Shell, block};
use super::{put_files, send};

/// Runs texts of the guide that start a worker: it does a good file and a corrupt one, says what kind of worker it
/// is, and keeps copies of the files it should keep. Returns all it said.
async fn works(shell: &Shell, texts: &[&str], kind: WorkerType, kept: [bool; 2]) -> String {
    let mut worker = shell.guide(texts);
    worker.wait_for(r#""event":"partitions assigned""#).await;
    // Names of their own: the task topic still has those of the workers before, which a new group begins with.
    let keys = put_files(shell, &format!("{:03}", shell.server.keys("input-files").len()));
    send(shell, &keys).await;
    let results = |shell: &Shell| -> Vec<ResultMessage> {
        shell.client.results().into_iter().filter(|result| keys.contains(&result.source.key)).collect()
    };
    kit::eventually("both results", || results(shell).len() >= 2).await;
    assert!(worker.stop().await.success(), "{texts:?}");
    for result in results(shell) {
        assert_eq!(result.worker_type, kind, "{texts:?}");
        let expected =
            if result.source.key == keys[0] { ResultStatus::Success } else { ResultStatus::Failed };
        assert_eq!(result.status, expected, "{texts:?}");
    }
    // Downloads lie by bucket and key of the object, summaries by those of the destination.
    let summary = format!("{}.parsed.json", keys[0]);
    for (folder, bucket, key, kept) in [
        ("downloads", "input-files", &keys[0], kept[0]),
        ("downloads", "input-files", &keys[1], kept[1]),
        ("uploads", "processed-files", &summary, kept[0]),
    ] {
        let copy = std::fs::read(shell.path(&format!("work/{folder}/{bucket}/{key}"))).ok();
        assert_eq!(copy.is_some(), kept, "{texts:?}: {bucket}/{key}");
        let object = shell.server.get(bucket, key).unwrap();
        assert!(copy.is_none_or(|copy| copy == object.bytes), "{texts:?}: {bucket}/{key}");
    }
    worker.output() + &worker.complaints()
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_commands() {
    let Some(broker) = apache() else { return };
    let Some(shell) = Shell::open("worker-commands", broker).await else { return };
    shell.client.create_topics(1).await;
    // The guide's .env has CLEANUP_FILES=true and CLEANUP_ON_ERROR=false.
    for (command, kind, kept) in [
        ("pixi run worker", SingleProcess, [false, true]),
        ("CLEANUP_FILES=false KAFKA_GROUP_ID=debug-group pixi run worker", SingleProcess, [true, true]),
        ("pixi run pool-worker", MultiProcess, [false, true]),
        ("POOL_SIZE=8 pixi run pool-worker", MultiProcess, [false, true]),
        ("POOL_SIZE=16 CLEANUP_FILES=true pixi run pool-worker", MultiProcess, [false, true]),
        ("CLEANUP_ON_ERROR=false pixi run worker", SingleProcess, [false, true]),
        ("CLEANUP_FILES=true CLEANUP_ON_ERROR=true pixi run worker", SingleProcess, [false, false]),
        ("POOL_SIZE=16 pixi run pool-worker", MultiProcess, [false, true]),
    ] {
        works(&shell, &[command], kind, kept).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_variables() {
    let Some(broker) = apache() else { return };
    let Some(shell) = Shell::open("variables", broker).await else { return };
    shell.client.create_topics(1).await;
    let [tuning, debugging, safety] = ["#### 性能调优", "#### 调试配置", "#### 容错配置"].map(block);
    works(&shell, &[tuning, "pixi run pool-worker"], MultiProcess, [false, true]).await;
    works(&shell, &[debugging, "pixi run worker"], SingleProcess, [true, true]).await;
    works(&shell, &[safety, "pixi run worker"], SingleProcess, [false, false]).await;

    // The complete list as .env. Its KAFKA_AUTO_OFFSET_RESET=latest does not matter: the group has offsets by now.
    let list = ["#### Kafka配置", "#### OBS配置", "#### Worker配置", "#### 任务生成器配置"].map(block);
    shell.configure(&list.concat(), "");
    shell.server.put("input-files", "data/2024/08/a.csv", "a\n1\n");
    shell.server.put("input-files", "data/2024/07/left-out.csv", "a\n1\n");
    shell.server.put("input-files", "specific/file.txt", "a\n1\n");
    for command in ["pixi run generate-tasks", "pixi run generate-single-task"] {
        let printed = shell.guide(&[command]).end().await;
        assert!(printed.starts_with("1 task"), "FILE_PREFIX and SINGLE_FILE of .env: {printed}");
    }
    let said = works(&shell, &["pixi run worker"], SingleProcess, [false, true]).await;
    assert!(said.contains("DBC_FACTORY"), "what cannot be had is said: {said}");
    assert!(shell.server.get("processed-files", "data/2024/08/a.csv.parsed.json").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_share_a_group() {
    const TASKS: usize = 60;
    let Some(broker) = apache() else { return };
    let Some(shell) = Shell::open("machines", broker).await else { return };
    shell.client.create_topics(3).await;
    let machine = "KAFKA_GROUP_ID=workers-group-1 pixi run pool-worker";
    let mut machines = [(); 3].map(|()| shell.guide(&[machine]));
    for machine in &mut machines {
        machine.wait_for(r#""event":"partitions assigned""#).await;
    }
    let tasks = (0..TASKS).map(|number| {
        let key = format!("{number}.csv");
        shell.server.put("input-files", &key, "a\n1\n");
        json!({ "key": key }).to_string()
    });
    shell.client.send(&tasks.collect::<Vec<_>>(), 3).await;
    shell.client.wait_for_results(TASKS).await;
    for machine in &mut machines {
        assert!(machine.stop().await.success());
    }
    let results = shell.client.results();
    let keys: BTreeSet<&str> = results.iter().map(|result| result.source.key.as_str()).collect();
    assert_eq!((results.len(), keys.len()), (TASKS, TASKS), "each task once");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_by_file_type() {
    let Some(broker) = apache() else { return };
    let Some(shell) = Shell::open("file-types", broker).await else { return };
    let own = |name: &str| format!("{}{name}", shell.prefix);
    let kinds = ["csv", "json", "log"];
    let topics = kinds.map(|kind| own(&format!("{kind}-processing-tasks")));
    let [csv, json, log] = &topics;
    let Topics { results, dead_letters, .. } = &shell.topics;
    shell.client.create(&[(csv, 1), (json, 1), (log, 1), (results, 1), (dead_letters, 1)]).await;
    for kind in kinds {
        for number in 0..3 {
            let text = if kind == "json" { "{\"a\":1}\n" } else { "a\n1\n" };
            shell.server.put("input-files", &format!("{number}.{kind}"), text);
        }
    }
    let routes = kinds.map(|kind| format!("{kind}={}", own(&format!("{kind}-processing-tasks"))));
    let scan = format!("pipeline tasks scan --route '{}'", routes.join(","));
    let printed = shell.start(&scan).end().await;

    let mut groups = [
        "KAFKA_GROUP_ID=csv-processors KAFKA_TOPIC_TASKS=csv-processing-tasks pixi run worker",
        "KAFKA_GROUP_ID=json-processors KAFKA_TOPIC_TASKS=json-processing-tasks pixi run worker",
        "KAFKA_GROUP_ID=log-processors KAFKA_TOPIC_TASKS=log-processing-tasks pixi run worker",
    ]
    .map(|command| shell.guide(&[command]));
    let results = shell.client.wait_for_results(9).await;
    for (kind, group) in kinds.iter().zip(&mut groups) {
        assert!(group.stop().await.success());
        let events = group.values();
        let settled = events.iter().filter(|event| event["processing_time"].is_f64());
        let mut keys: Vec<&str> = settled.filter_map(|event| event["file_key"].as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["0", "1", "2"].map(|number| format!("{number}.{kind}")), "{printed}");
    }
    assert_eq!(results.len(), 9);
    for result in results {
        assert_eq!(result.error_kind, None, "{result:?}");
    }
}
