//! The guide's generator commands, on Apache Kafka and the OBS server: what they send is what the workers do.

use kit::kafka::{Client, Topics, apache};
use kit::live::{variables, with};
use kit::obs::{ObsServer, Options};
use kit::program::Program;
use serde_json::Value;

const PARTITIONS: i32 = 3;

/// Runs the program to its end and gives what it printed.
async fn pipeline(arguments: &[&str], variables: &[(String, String)]) -> String {
    let mut program = Program::start(arguments, variables);
    let status = program.wait().await;
    kit::eventually("its last line", || !program.lines().is_empty()).await;
    assert!(status.success(), "{status}: {:?}", program.lines());
    program.lines().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn scan_file_and_list_send_what_the_workers_do() {
    let Some(broker) = apache() else { return };
    let topics = Topics::new("generator");
    let server = ObsServer::start(Options {
        buckets: vec!["in".into(), "out".into(), "results".into()],
        ..Options::default()
    })
    .await;
    let client = Client::new(&broker.bootstrap, &topics);
    client.create_topics(PARTITIONS).await;
    // More than one page of the listing; two with another prefix, one too large.
    for number in 0..1_200 {
        server.put("my-bucket", &format!("data/2024/08/{number}.csv"), "a\n1\n");
    }
    server.put("my-bucket", "data/2024/08/large.csv", "a\n".repeat(1000));
    server.put("my-bucket", "data/2023/old.csv", "a\n1\n");
    server.put("my-bucket", "urgent/data.csv", "a\n1\n");
    let variables = variables(&broker.bootstrap, &topics, &server);

    // SOURCE_BUCKET=my-bucket FILE_PREFIX=data/2024/08/ pixi run generate-tasks
    let scan = with(variables.clone(), &[("SOURCE_BUCKET", "my-bucket"), ("FILE_PREFIX", "data/2024/08/")]);
    let printed = pipeline(&["tasks", "scan", "--max-size", "100"], &scan).await;
    assert!(printed.starts_with("1200 tasks sent"), "{printed}");
    let dry = with(scan.clone(), &[("MAX_FILES", "5")]);
    let printed = pipeline(&["tasks", "scan", "--dry-run"], &dry).await;
    let tasks: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(tasks.len(), 5);
    assert_eq!((&tasks[0]["bucket"], &tasks[0]["size"]), (&"my-bucket".into(), &4.into()));

    // SINGLE_FILE=urgent/data.csv SOURCE_BUCKET=my-bucket pixi run generate-single-task
    let single = [
        ("SINGLE_FILE", "urgent/data.csv"),
        ("SOURCE_BUCKET", "my-bucket"),
        ("DEST_BUCKET", "results"),
        ("DEST_KEY", "processed/data.json"),
    ];
    pipeline(&["tasks", "file"], &with(variables.clone(), &single)).await;
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), "data/2023/old.csv\n\n").unwrap();
    let list = with(variables.clone(), &[("SOURCE_BUCKET", "my-bucket")]);
    pipeline(&["tasks", "list", keys.path().to_str().unwrap()], &list).await;

    let mut worker = Program::start(&["run"], &variables);
    let results = client.wait_for_results(1_202).await;
    client.wait_for_no_lag(PARTITIONS).await;
    worker.signal("TERM");
    assert!(worker.wait().await.success());
    assert_eq!(results.len(), 1_202);
    assert!(results.iter().all(|result| result.source.bucket == "my-bucket" && result.rows == Some(1)));
    assert!(server.get("results", "processed/data.json").is_some());
    assert!(server.get("out", "data/2023/old.csv.parsed.json").is_some());
}
