//! The guide's generator commands (任务生成器详解): what they send is what its format of a task message says.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kit::kafka::apache;
use serde_json::Value;

use super::shell::{Shell, assert_fields, example};

/// A message of the task topic.
struct Task {
    message_key: String,
    fields: Value,
}

impl Task {
    fn text(&self, name: &str) -> Option<&str> {
        self.fields[name].as_str()
    }

    fn place(&self) -> (&str, &str) {
        (self.text("bucket").unwrap(), self.text("key").unwrap())
    }
}

/// The fields that the guide's format has for every task are as it says, and true.
fn assert_task(shell: &Shell, task: &Task, listed: bool) {
    let (bucket, key) = task.place();
    assert_eq!(task.message_key, format!("{bucket}/{key}"));
    let time = |name| {
        let text = task.text(name).unwrap();
        assert!(text.ends_with('Z'), "UTC: {text}");
        text.parse::<Timestamp>().unwrap()
    };
    assert!(Timestamp::now().duration_since(time("generated_at")).as_secs() < 600);
    // A key that was only named may not have been looked at.
    if listed || !task.fields["size"].is_null() {
        let object = shell.server.get(bucket, key).unwrap();
        assert_eq!(task.fields["size"], object.bytes.len());
        assert_eq!(time("last_modified").as_second(), object.modified.as_second());
    }
}

const SCANS: &str = r"# 扫描整个桶
SOURCE_BUCKET=my-bucket pixi run generate-tasks

# 按前缀过滤（推荐）
SOURCE_BUCKET=my-bucket FILE_PREFIX=data/2024/08/ pixi run generate-tasks

# 限制文件数量
SOURCE_BUCKET=my-bucket MAX_FILES=500 pixi run generate-tasks

# 指定目标桶
SOURCE_BUCKET=input-bucket DEST_BUCKET=output-bucket pixi run generate-tasks
";
const FILES: &str = r"# 处理特定文件
SINGLE_FILE=urgent/data.csv SOURCE_BUCKET=my-bucket pixi run generate-single-task

# 指定输出路径
SINGLE_FILE=data.txt DEST_BUCKET=results DEST_KEY=processed/data.json pixi run generate-single-task
";
const BATCH: &str = r"# 使用预设的批量任务配置
pixi run generate-batch-tasks
";
/// What the guide calls the preset configuration of batches.
const JOBS: &str = r#"
[jobs.daily-csv]
bucket = "input-files"
prefix = "data/2024/08/"
include = ["**/*.csv"]
dest_bucket = "processed-files"

[jobs.urgent]
bucket = "my-bucket"
files = ["urgent/data.csv"]
"#;

/// The objects that these commands find: 604 in my-bucket.
fn put_objects(shell: &Shell) {
    let put = |bucket: &str, key: &str| shell.server.put(bucket, key, format!("key\n{key}\n"));
    for number in 0..600 {
        put("my-bucket", &format!("bulk/{number:03}.csv"));
    }
    for key in ["data/2024/07/a.csv", "data/2024/08/b.csv", "data/2024/08/c.csv", "urgent/data.csv"] {
        put("my-bucket", key);
    }
    for key in ["a.csv", "b/c.csv"] {
        put("input-bucket", key);
    }
    for key in ["data.txt", "data/2024/08/d.csv", "data/2024/08/e.json"] {
        put("input-files", key);
    }
}

/// The first `count` messages of the task topic, as Apache's own tool reads them.
async fn read_tasks(shell: &Shell, count: usize) -> Vec<Task> {
    let read = format!(
        "kafka-console-consumer --bootstrap-server localhost:9092 --topic file-processing-tasks \
         --from-beginning --max-messages {count} --formatter-property print.key=true"
    );
    let lines = shell.start(&read).end().await;
    let task = |line: &str| {
        let (key, message) = line.split_once('\t').unwrap();
        Task { message_key: key.to_owned(), fields: serde_json::from_str(message).unwrap() }
    };
    lines.lines().map(task).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn generator_commands() {
    let Some(broker) = apache() else { return };
    let Some(shell) = Shell::open("generator-commands", broker).await else { return };
    // One partition keeps the order of the commands.
    shell.client.create_topics(1).await;
    put_objects(&shell);
    shell.write("tasks.toml", JOBS);
    let printed = shell.guide(&[SCANS, FILES]).end().await;
    let counts: Vec<usize> =
        printed.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    assert_eq!(counts, [604, 2, 500, 2, 1, 1], "{printed}");
    shell.guide(&[BATCH]).end().await;
    let sent = usize::try_from(shell.client.lag(1)[&0]).unwrap();
    assert_eq!(sent, counts.iter().sum::<usize>() + 2);

    let mut tasks = read_tasks(&shell, sent).await.into_iter();
    let mut next = |count| tasks.by_ref().take(count).collect::<Vec<Task>>();
    let (whole, prefixed, limited, elsewhere) = (next(604), next(2), next(500), next(2));
    let (single, named, mut batch) = (next(1), next(1), next(2));
    let keys = |tasks: &[Task]| -> BTreeSet<String> {
        tasks.iter().map(|task| task.text("key").unwrap().to_owned()).collect()
    };
    for task in [&whole, &prefixed, &limited, &elsewhere].into_iter().flatten() {
        assert_task(&shell, task, true);
        let from = if task.fields["dest_bucket"].is_null() { "my-bucket" } else { "input-bucket" };
        assert_eq!(task.text("bucket"), Some(from));
    }
    assert_eq!(keys(&whole), shell.server.keys("my-bucket").into_iter().collect());
    assert_eq!(keys(&prefixed), ["data/2024/08/b.csv", "data/2024/08/c.csv"].map(String::from).into());
    assert_eq!(keys(&limited).len(), 500);
    assert_eq!(keys(&elsewhere), ["a.csv", "b/c.csv"].map(String::from).into());
    assert!(elsewhere.iter().all(|task| task.text("dest_bucket") == Some("output-bucket")));

    for task in single.iter().chain(&named).chain(&batch) {
        assert_task(&shell, task, false);
    }
    assert_eq!(single[0].place(), ("my-bucket", "urgent/data.csv"));
    assert_eq!(named[0].place(), ("input-files", "data.txt"));
    assert_eq!(named[0].text("dest_bucket"), Some("results"));
    assert_eq!(named[0].text("dest_key"), Some("processed/data.json"));
    // Nothing says in which order jobs run.
    batch.sort_by(|a, b| a.place().cmp(&b.place()));
    let [daily, urgent] = &batch[..] else { panic!("two") };
    assert_eq!(daily.place(), ("input-files", "data/2024/08/d.csv"));
    assert_eq!(urgent.place(), ("my-bucket", "urgent/data.csv"));
    // A job that lists has all of the guide's format but the key of the summary, which nobody named.
    let mut format = example("### 生成的任务消息格式");
    format.as_object_mut().unwrap().remove("dest_key");
    assert_fields(&daily.fields, &format);
}
