//! How log lines look: JSON with the user's guide's fields, or lines for people; English or Chinese.

use std::fmt;
use std::io;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{ConfigError, Invalid, Log, LogFormat, LogLang};

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// For the workers, whose log is their output: `pipeline run | jq`.
    Stdout,
    /// For commands that print something else.
    Stderr,
}

/// Starts logging for the whole process. Later calls change nothing. Lines are written by a thread of their own, until
/// the guard is dropped: a reader that is too slow loses lines, and holds up nothing.
///
/// # Errors
/// When the level is no level.
pub fn start(log: &Log, output: Output) -> Result<WorkerGuard, ConfigError> {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| {
        let allowed = format!("error, warn, info, debug, trace or tracing directives ({error})");
        ConfigError(vec![Invalid { name: "LOG_LEVEL".to_owned(), value: Some(log.level.clone()), allowed }])
    })?;
    let lines = Lines { format: log.format, lang: log.lang };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).event_format(lines);
    let (writer, guard) = match output {
        Output::Stdout => tracing_appender::non_blocking(io::stdout()),
        Output::Stderr => tracing_appender::non_blocking(io::stderr()),
    };
    // Fails only when logging was already started.
    let _ = builder.with_writer(writer).try_init();
    Ok(guard)
}

/// The event texts of the user's guide, for `LOG_LANG=zh`.
const CHINESE: &[(&str, &str)] = &[
    ("worker started", "Worker启动"),
    ("unknown setting", "未知配置项"),
    ("setting has no effect", "配置项无效果"),
    ("topic created", "Topic已创建"),
    ("file kept", "文件已保留"),
    ("file not kept", "文件保留失败"),
    ("worker draining", "Worker正在停止"),
    ("drain timed out", "等待处理超时"),
    ("worker stopped", "Worker停止"),
    ("worker failed", "Worker异常退出"),
    ("file processed", "处理完成"),
    ("file failed", "处理失败"),
    ("file will be tried again", "稍后重试"),
    ("task released", "任务已释放"),
    ("partitions assigned", "分区已分配"),
    ("partitions revoked", "分区已回收"),
    ("rebalance failed", "分区重平衡失败"),
    ("partition stands still", "分区停滞"),
    ("partition goes on", "分区恢复"),
    ("commit failed", "提交偏移量失败"),
    ("restore delayed", "恢复进度延迟"),
    ("commit metadata ignored", "提交元数据已忽略"),
    ("finished tasks remembered", "已完成任务不再重复"),
    ("transaction delayed", "事务延迟"),
    ("transaction aborted", "事务已中止"),
    ("no transactions", "无法使用事务"),
    ("pause failed", "暂停分区失败"),
    ("consumer error", "消费异常"),
    ("offsets went back", "偏移量回退"),
    ("message refused", "消息被拒绝"),
    ("credentials reloaded", "凭证已更新"),
    ("credentials unreadable", "凭证无法读取"),
];

/// One event, one line.
struct Lines {
    format: LogFormat,
    lang: LogLang,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let Fields(mut fields) = fields;
        let text = match fields.shift_remove("message") {
            Some(Value::String(text)) => self.translate(text),
            _ => String::new(),
        };
        let metadata = event.metadata();
        let timestamp = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let level = metadata.level().as_str();
        match self.format {
            LogFormat::Json => {
                let mut line = Map::new();
                line.insert("timestamp".into(), timestamp.into());
                line.insert("level".into(), level.to_ascii_lowercase().into());
                line.insert("event".into(), text.into());
                for (name, default) in [
                    ("filename", Value::from(metadata.file())),
                    ("func_name", Value::from(metadata.target())),
                    ("lineno", Value::from(metadata.line())),
                ] {
                    line.insert(name.into(), fields.shift_remove(name).unwrap_or(default));
                }
                line.extend(fields);
                writeln!(writer, "{}", Value::Object(line))
            }
            LogFormat::Pretty => {
                write!(writer, "{timestamp} {level:>5} {text}")?;
                for (name, value) in fields {
                    match value {
                        _ if matches!(name.as_str(), "filename" | "func_name" | "lineno") => {}
                        Value::String(value) => write!(writer, "  {name}={value}")?,
                        value => write!(writer, "  {name}={value}")?,
                    }
                }
                writeln!(writer)
            }
        }
    }
}

impl Lines {
    fn translate(&self, text: String) -> String {
        match self.lang {
            LogLang::En => text,
            LogLang::Zh => match CHINESE.iter().find(|(english, _)| *english == text) {
                Some((_, chinese)) => (*chinese).to_owned(),
                None => text,
            },
        }
    }
}

/// The fields of an event, in the order they were written.
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}
