//! Traces over OTLP: where the time of one group goes, over all processes. They are off unless an endpoint is named; then a
//! [`Span`] holds nothing, and beginning one is a look at a variable.
//!
//! A group's trace begins with its lease. Where the chain crosses to another process, or to Redis, it is carried on as a
//! W3C `traceparent`: in the metadata of a call, in the scored group, in the announcement of weights. Spans of groups that
//! are generated at the same time lie over each other on the same threads, so that each is begun and ended where its state
//! changes; a guard on a thread's stack could not hold them.

mod sending;
mod settings;

use std::fmt::Display;
use std::sync::OnceLock;
use std::time::SystemTime;

use opentelemetry::trace::Span as _;
use opentelemetry::trace::{
    SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tonic::metadata::MetadataMap;

use crate::exit::ExitError;
use crate::program::VERSION;
pub use sending::Sending;

/// What the metadata of a call and messages call it.
const TRACEPARENT: &str = "traceparent";

/// A span of a step links to every group that it trained.
const MOST_LINKS: u32 = 1024;

/// Made once per process, where traces are on.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Starts to send traces where an endpoint is named, by the argument or by the environment as OpenTelemetry's
/// specification has it. Needs a runtime. The result sends what is left, at the end of the process.
///
/// # Errors
/// [`ExitError`] with the configuration code if the endpoint or a variable that goes with it cannot be used.
pub(crate) fn start(process: &'static str, endpoint: Option<&str>) -> Result<Sending, ExitError> {
    let Some(settings) = settings::Settings::find(endpoint, &|name| std::env::var(name).ok())? else {
        return Ok(Sending::off());
    };
    let exporter = settings.exporter()?;
    let resource = settings::resource(process);
    let (processor, sending) = sending::start(exporter, &resource, settings.endpoint());
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_max_links_per_span(MOST_LINKS)
        .with_resource(resource)
        .build();
    let scope = opentelemetry::InstrumentationScope::builder("anytime").with_version(VERSION);
    // A second start in one process, as in a test, goes on with the first.
    let _ = TRACER.set(provider.tracer_with_scope(scope.build()));
    Ok(sending)
}

/// Whether traces are sent.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// Something that takes time, from its beginning until it is dropped. Holds nothing where traces are off.
#[derive(Debug, Default)]
pub struct Span(Option<opentelemetry_sdk::trace::Span>);

impl Span {
    /// Begins now, below `parent`; at the top of a new trace where there is none.
    pub fn begin(name: &'static str, parent: &SpanRef) -> Self {
        Self::build(SpanBuilder::from_name(name), parent)
    }

    /// The same for what has begun already.
    pub fn begin_at(name: &'static str, parent: &SpanRef, began: SystemTime) -> Self {
        Self::build(SpanBuilder::from_name(name).with_start_time(began), parent)
    }

    /// The same for a call to another process.
    pub fn call(name: &'static str, parent: &SpanRef) -> Self {
        Self::build(SpanBuilder::from_name(name).with_kind(SpanKind::Client), parent)
    }

    /// What a process does for a caller, below the caller's span where it says one.
    pub fn serve(name: &'static str, metadata: &MetadataMap) -> Self {
        if !is_on() {
            return Self(None);
        }
        let parent = metadata.get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let parent = SpanRef::parse(parent.unwrap_or_default());
        Self::build(SpanBuilder::from_name(name).with_kind(SpanKind::Server), &parent)
    }

    fn build(builder: SpanBuilder, parent: &SpanRef) -> Self {
        let Some(tracer) = TRACER.get() else {
            return Self(None);
        };
        let context = match &parent.0 {
            Some(parent) => Context::new().with_remote_span_context(parent.clone()),
            None => Context::new(),
        };
        Self(Some(tracer.build_with_context(builder, &context)))
    }

    /// Where it is, for spans below it.
    pub fn place(&self) -> SpanRef {
        SpanRef(self.0.as_ref().map(|span| span.span_context().clone()))
    }

    /// Says something of it in words.
    pub fn text(&mut self, key: &'static str, value: impl Display) -> &mut Self {
        if let Some(span) = self.recording() {
            span.set_attribute(KeyValue::new(key, value.to_string()));
        }
        self
    }

    /// Says something of it by a number.
    pub fn number(&mut self, key: &'static str, value: u64) -> &mut Self {
        if let Some(span) = self.recording() {
            span.set_attribute(KeyValue::new(key, i64::try_from(value).unwrap_or(i64::MAX)));
        }
        self
    }

    /// Points to a span of another trace that it has to do with.
    pub fn link(&mut self, other: &SpanRef) -> &mut Self {
        if let (Some(span), Some(other)) = (self.recording(), &other.0) {
            span.add_link(other.clone(), Vec::new());
        }
        self
    }

    /// It did not come to what it should.
    pub fn fail(&mut self, reason: impl Display) {
        if let Some(span) = self.recording() {
            span.set_status(Status::error(reason.to_string()));
        }
    }

    /// Has a call say that it is made within this span.
    pub fn tell<T>(&self, request: &mut tonic::Request<T>) {
        if self.0.is_some()
            && let Ok(value) = self.place().traceparent().parse()
        {
            request.metadata_mut().insert(TRACEPARENT, value);
        }
    }

    /// A sampler may have decided against it.
    fn recording(&mut self) -> Option<&mut opentelemetry_sdk::trace::Span> {
        self.0.as_mut().filter(|span| span.is_recording())
    }
}

/// Names a span, here or in another process; none where traces are off.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanRef(Option<SpanContext>);

impl SpanRef {
    /// As W3C's Trace Context writes it; empty where there is none.
    pub fn traceparent(&self) -> String {
        let Some(context) = &self.0 else {
            return String::new();
        };
        let flags = context.trace_flags().to_u8();
        format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id())
    }

    /// Reads what [`traceparent`](Self::traceparent) wrote. Whatever else it is, there is none: it comes from others, and
    /// nothing depends on it.
    pub fn parse(traceparent: &str) -> Self {
        Self(context_of(traceparent))
    }
}

fn context_of(traceparent: &str) -> Option<SpanContext> {
    // 00-(32 digits)-(16 digits)-(2 digits); later versions may have more at the end.
    if traceparent.len() < 55 || !traceparent.is_ascii() || traceparent.starts_with("ff") {
        return None;
    }
    let mut parts = traceparent.splitn(5, '-');
    let (_version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_it_was_written_and_nothing_else_is() {
        let written = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(SpanRef::parse(written).traceparent(), written);
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        assert_eq!(SpanRef::parse(unsampled).traceparent(), unsampled);
        // A later version has more.
        let later = SpanRef::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more");
        assert_eq!(later.traceparent(), written);
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-é1",
            "00-0af7651916cd43dd8448eb211c80319cb7-ad6b7169203331-01",
        ] {
            assert_eq!(SpanRef::parse(bad), SpanRef::default(), "{bad}");
        }
    }

    #[test]
    fn without_an_endpoint_there_is_nothing_to_say_and_nothing_is_said() {
        assert!(!is_on());
        let mut span = Span::begin("lease", &SpanRef::default());
        span.text("job_id", "job")
            .number("version", 3)
            .link(&SpanRef::default());
        span.fail("for no reason");
        assert!(span.0.is_none());
        assert_eq!(span.place().traceparent(), "");
        let mut request = tonic::Request::new(());
        span.tell(&mut request);
        assert!(request.metadata().is_empty());
    }
}
