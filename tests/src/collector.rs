//! A collector of traces that keeps every span it is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, Response, Status};

use crate::ports::free_address;

/// One span as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// The service that sent it.
    pub service: String,
    /// The span.
    pub span: Span,
}

impl Received {
    /// What it says under this key, as text.
    pub fn attribute(&self, key: &str) -> Option<String> {
        text_of(&self.span.attributes, key)
    }
}

/// The spans of one trace.
#[derive(Clone, Debug, Default)]
pub struct Trace(pub Vec<Received>);

impl Trace {
    /// Its spans of one name.
    pub fn named(&self, name: &str) -> Vec<&Received> {
        self.0.iter().filter(|received| received.span.name == name).collect()
    }

    /// The parent of a span, where it was received too.
    pub fn parent(&self, of: &Received) -> Option<&Received> {
        let is_parent = |other: &&Received| other.span.span_id == of.span.parent_span_id;
        self.0.iter().find(is_parent)
    }
}

/// A collector that runs as long as it is there.
pub struct Collector {
    /// Its URL.
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Collector {
    /// Starts one. Needs a runtime.
    pub fn start() -> Self {
        let address = free_address();
        let received = Arc::new(Mutex::new(Vec::new()));
        let service = TraceServiceServer::new(Keeper(Arc::clone(&received)));
        let listens_at = address.parse().expect("an address");
        let server = tokio::spawn(async move {
            let router = tonic::transport::Server::builder().add_service(service);
            router.serve(listens_at).await.expect("the collector serves");
        });
        Self {
            url: format!("http://{address}"),
            received,
            server,
        }
    }

    /// Everything that came so far, by trace.
    pub fn traces(&self) -> BTreeMap<Vec<u8>, Trace> {
        let mut traces: BTreeMap<Vec<u8>, Trace> = BTreeMap::new();
        for one in self.received.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            traces.entry(one.span.trace_id.clone()).or_default().0.push(one.clone());
        }
        traces
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Keeper(Arc<Mutex<Vec<Received>>>);

#[tonic::async_trait]
impl TraceService for Keeper {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for of_service in request.into_inner().resource_spans {
            let attributes = of_service.resource.unwrap_or_default().attributes;
            let service = text_of(&attributes, "service.name").unwrap_or_default();
            for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                received.push(Received {
                    service: service.clone(),
                    span,
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn text_of(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match &found.value {
        Some(AnyValue {
            value: Some(Value::StringValue(text)),
        }) => Some(text.clone()),
        Some(AnyValue {
            value: Some(Value::IntValue(number)),
        }) => Some(number.to_string()),
        _ => None,
    }
}
