//! Tasks per second along the whole path, without broker and network: what the machinery itself costs.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kit::rig::{Rig, task};

/// Tasks per measurement.
const TASKS: usize = 1_000;
/// A small file: the machinery shows best where there is little work.
const ROWS: usize = 20;

fn path(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("path");
    group.sample_size(10).throughput(Throughput::Elements(TASKS as u64));
    let file: String = std::iter::once("id,name\n".to_owned())
        .chain((0..ROWS).map(|row| format!("{row},name {row}\n")))
        .collect();
    for downloads in ["1", "16", "64"] {
        let rig = Rig::new(&[("PIPELINE_DOWNLOADS_MAX", downloads)]);
        let tasks: Vec<String> = (0..TASKS).map(|number| task(&format!("{number}.csv"))).collect();
        runtime.block_on(async {
            for number in 0..TASKS {
                rig.put(&format!("{number}.csv"), file.clone()).await;
            }
        });
        group.bench_with_input(BenchmarkId::new("downloads_max", downloads), &tasks, |bencher, tasks| {
            bencher.iter(|| {
                let outcome = runtime.block_on(rig.run(tasks, 3));
                assert_eq!(outcome.report.expect("a good run").succeeded, TASKS as u64);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, path);
criterion_main!(benches);
