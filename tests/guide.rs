//! The old system's guide (`guide/guide.md`): its commands work here, translated in the command word only, on Apache
//! Kafka and the OBS server.

use std::collections::BTreeMap;

use kit::dataset::{good_samples, sample};
use kit::kafka::apache;
use serde_json::json;

use self::shell::{MINIMAL, Shell, assert_fields, block, example, lines};

/// 任务生成器详解: the generator's commands.
mod generator;
/// Where the commands run.
mod shell;
/// Worker处理器详解: the workers' commands.
mod workers;

/// 监控结果: the first of them is also that of 一键启动.
const FOLLOW: &str =
    "kafka-console-consumer --bootstrap-server localhost:9092 --topic file-processing-results";
const SUCCESSES: &str = r#"kafka-console-consumer --bootstrap-server localhost:9092 --topic file-processing-results | grep "success""#;
const FAILURES: &str = r#"kafka-console-consumer --bootstrap-server localhost:9092 --topic file-processing-results | grep "failed""#;

#[test]
fn every_command_of_the_guide_is_run_here() {
    // One binary is installed instead, and its .env has the same names.
    const INSTALLED: [&str; 3] = ["pixi install", "pip install -e .", "cp env.example .env"];
    let run = [
        include_str!("guide.rs"),
        include_str!("guide/generator.rs"),
        include_str!("guide/shell.rs"),
        include_str!("guide/workers.rs"),
    ]
    .concat();
    let lines = lines();
    assert!(lines.len() > 80, "the walk finds the lines");
    for (heading, line) in lines {
        let known = INSTALLED.contains(&line) || run.contains(line) || run.contains(&format!("{heading:?}"));
        assert!(known, "{heading}: {line}");
    }
}

/// A file that can be summarised and one that cannot, in the bucket of `.env`. Returns their keys.
fn put_files(shell: &Shell, folder: &str) -> [String; 2] {
    let [good, corrupt] = [format!("{folder}/penguins.csv"), format!("{folder}/corrupt.csv.gz")];
    shell.server.put("input-files", &good, sample("penguins.csv"));
    shell.server.put("input-files", &corrupt, sample("corrupt.csv.gz"));
    [good, corrupt]
}

/// Sends the tasks of these objects, to a topic of one partition.
async fn send(shell: &Shell, keys: &[String]) {
    let tasks: Vec<String> = keys.iter().map(|key| json!({ "key": key }).to_string()).collect();
    shell.client.send(&tasks, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quick_start() {
    let Some(broker) = apache() else { return };
    let Some(shell) = Shell::open("quick-start", broker).await else { return };
    shell.client.create_topics(1).await;
    let names = good_samples();
    for name in &names {
        shell.server.put("my-bucket", &format!("data/{name}"), sample(name));
    }
    shell.server.put("my-bucket", "more/left-out.csv", "a\n1\n");

    // The third terminal first: it shows what comes from now on.
    let mut results = shell.guide(&[FOLLOW]);
    results.wait_until_it_follows().await;
    let scan = "SOURCE_BUCKET=my-bucket FILE_PREFIX=data/ pixi run generate-tasks";
    let printed = shell.guide(&[scan]).end().await;
    assert!(printed.starts_with(&format!("{} tasks sent to ", names.len())), "{printed}");
    let mut worker = shell.guide(&["pixi run worker"]);
    shell.client.wait_for_results(names.len()).await;
    results.wait_until_it_has_all().await;
    results.stop().await;
    assert!(worker.stop().await.success());

    let expected: Vec<String> = names.iter().map(|name| format!("data/{name}.parsed.json")).collect();
    assert_eq!(shell.server.keys("processed-files"), expected);
    let success = example("### 成功通知格式");
    let mut written = Vec::new();
    for result in results.values() {
        assert_fields(&result, &success);
        assert_eq!(
            (&result["status"], &result["worker_type"]),
            (&"success".into(), &"single_process".into())
        );
        written.push(result["destination"]["key"].as_str().unwrap().to_owned());
    }
    written.sort();
    assert_eq!(written, expected, "the consumer shows each result once");
}

/// How many results of each status a person reads in this.
fn counts(text: &str) -> BTreeMap<&str, usize> {
    let count = |line| -> Option<(&str, usize)> {
        let words = str::split(line, |c: char| !c.is_ascii_alphanumeric());
        let status = words.clone().find(|word| ["success", "failed"].contains(word))?;
        Some((status, words.clone().find_map(|word| word.parse().ok())?))
    };
    text.lines().filter_map(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn result_one_liners() {
    let Some(broker) = apache() else { return };
    let Some(shell) = Shell::open("one-liners", broker).await else { return };
    shell.client.create_topics(1).await;
    let mut keys = put_files(&shell, "data").to_vec();
    keys.extend(["missing-1.csv", "missing-2.csv"].map(String::from));
    let [mut successes, mut failures] = [SUCCESSES, FAILURES].map(|one_liner| shell.guide(&[one_liner]));
    successes.wait_until_it_follows().await;
    failures.wait_until_it_follows().await;
    send(&shell, &keys).await;
    let mut worker = shell.guide(&["pixi run pool-worker"]);
    shell.client.wait_for_results(keys.len()).await;
    assert!(worker.stop().await.success());

    for (one_liner, status, count, format) in
        [(&mut successes, "success", 1, "### 成功通知格式"), (&mut failures, "failed", 3, "### 失败通知格式")]
    {
        one_liner.wait_until_it_has_all().await;
        one_liner.stop().await;
        let results = one_liner.values();
        assert_eq!(results.len(), count, "{results:?}");
        for result in results {
            assert_eq!(result["status"], status);
            assert_fields(&result, &example(format));
        }
    }

    let mut script = shell.guide(&[block("#### 监控脚本示例")]);
    script.wait_until_it_has_all().await;
    script.stop().await;
    let expected = BTreeMap::from([("success", 1), ("failed", 3)]);
    assert_eq!(counts(&script.output()), expected, "{}", script.output());
    let printed = shell.start("pipeline results --count").end().await;
    assert_eq!(counts(&printed), expected, "{printed}");

    // The guide's key figures, as docs/migrating.md has them.
    let of_results = |filter: &str| {
        shell.start(&format!("pipeline results --json --since 1h --no-follow | {filter}")).end()
    };
    let by_minute = of_results("jq -r '.timestamp[:16]' | sort | uniq -c").await;
    let first = |line: &str| line.split_whitespace().next().and_then(|count| count.parse::<usize>().ok());
    assert_eq!(by_minute.lines().filter_map(first).sum::<usize>(), 4, "{by_minute}");
    let mean = of_results("jq -s 'map(.processing_time // empty) | add / length'").await;
    assert!(mean.trim().parse::<f64>().is_ok_and(|mean| mean > 0.0), "{mean}");
    let errors = of_results("jq -r 'select(.status == \"failed\") | .error_kind' | sort | uniq -c").await;
    assert_eq!(errors.lines().filter_map(first).sum::<usize>(), 3, "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_filters() {
    let Some(broker) = apache() else { return };
    let Some(shell) = Shell::open("log-filters", broker).await else { return };
    shell.client.create_topics(1).await;
    // The guide's event texts; everything else of the lines is the same in both languages.
    shell.configure(block(MINIMAL), "LOG_LANG=zh");
    let keys = put_files(&shell, "data");
    let mut outputs = Vec::new();
    for filter in [
        "pixi run worker | jq '.'",
        r#"pixi run worker | jq 'select(.event == "处理完成")'"#,
        "pixi run worker | jq 'select(.processing_time) | .processing_time'",
    ] {
        send(&shell, &keys).await;
        let mut worker = shell.guide(&[filter]);
        shell.client.wait_for_results(2 * (outputs.len() + 1)).await;
        assert!(worker.stop().await.success(), "jq reads every line");
        outputs.push(worker.values());
    }
    let [all, done, times] = &outputs[..] else { panic!("three") };
    let texts: Vec<&str> = all.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(texts.len(), all.len());
    assert!(texts.contains(&"处理完成") && texts.contains(&"处理失败"), "{texts:?}");
    let [event] = &done[..] else { panic!("one of the two files: {done:?}") };
    assert_eq!(event["file_key"], keys[0].as_str());
    assert_fields(event, &example("#### 结构化日志格式"));
    assert_eq!(times.len(), 2);
    assert!(times.iter().all(|time| time.as_f64().is_some_and(|seconds| seconds > 0.0)), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created() {
    let Some(broker) = apache() else { return };
    let Some(shell) = Shell::open("topics", broker).await else { return };
    let create = "kafka-topics --bootstrap-server localhost:9092 --create --topic file-processing-tasks";
    let printed = shell.guide(&[create]).end().await;
    assert!(printed.contains(&format!("Created topic {}", shell.topics.tasks)), "{printed}");
    // The results' topic is missing: the worker makes it, and takes the other as it is.
    worker_creates(&shell, 1).await;

    let Some(nothing_yet) = Shell::open("topics", broker).await else { return };
    worker_creates(&nothing_yet, 3).await;
}

/// Where topics are missing a worker starts all the same, with so many partitions of tasks.
async fn worker_creates(shell: &Shell, partitions: i32) {
    let mut worker = shell.start("pipeline worker --create-topics --partitions 3");
    worker.wait_for(r#""event":"partitions assigned""#).await;
    let tasks = (0..partitions).map(|number| {
        let key = format!("{number}.csv");
        shell.server.put("input-files", &key, "a\n1\n");
        json!({ "key": key }).to_string()
    });
    // One to each partition; a partition that is not there would refuse its own.
    shell.client.send(&tasks.collect::<Vec<_>>(), partitions).await;
    shell.client.wait_for_no_lag(partitions).await;
    assert!(worker.stop().await.success());
    assert_eq!(shell.server.keys("processed-files").len(), partitions as usize);
    let events = worker.values();
    let done = events.iter().filter(|event| event["event"] == "file processed").count();
    assert_eq!(done, partitions as usize, "published: {events:?}");
}

/// The script of docs/migrating.md that stands for the guide's database hook: one row a task, old messages left out.
#[test]
fn results_into_sqlite() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/migrating.md")).unwrap();
    let script = page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let count = "import sqlite3\n\
        rows = sqlite3.connect('processing_log.db').execute('select file_key, status from processing_log').fetchall()\n\
        print(rows)\n";
    let result = |status: &str| {
        format!(
            r#"{{"timestamp":"2025-08-25T12:30:00Z","status":"{status}","source":{{"bucket":"in","key":"a.csv"}},
               "task":{{"topic":"t","partition":0,"offset":7,"attempt":1}}}}"#
        )
        .replace('\n', " ")
    };
    let old =
        r#"{"timestamp":"2025-08-25T12:30:00Z","status":"failed","source":{"bucket":"in","key":"old.csv"}}"#;
    let lines = [result("failed").as_str(), old, &result("success")].join("\n");
    let run = |script: &str, input: &str| {
        let mut python = std::process::Command::new("python3");
        python.args(["-c", script]).current_dir(folder.path());
        python.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = python.spawn().ok()?;
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "the script failed");
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if run(script, &lines).is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must have python3");
        eprintln!("SKIPPED results_into_sqlite: it needs python3");
        return;
    }
    assert_eq!(run(count, "").unwrap(), "[('a.csv', 'success')]");
}
