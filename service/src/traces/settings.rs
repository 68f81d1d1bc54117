//! Where traces go, by the argument and the variables of OpenTelemetry's specification.

use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use tonic::transport::{Certificate, ClientTlsConfig, Uri};

use crate::exit::ExitError;
use crate::program::VERSION;

/// The argument, and the variable that it stands for.
const ARGUMENT: &str = "--otlp-endpoint";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Counts more than the general one, but not more than the argument.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// Each as the specification has it: the one for traces counts more.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const CERTIFICATES: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
];

/// Where traces go.
#[derive(Debug)]
pub(super) struct Settings {
    endpoint: String,
    is_tls: bool,
    /// CAs beside those of the system.
    certificate: Option<String>,
}

impl Settings {
    /// Reads them; none where traces are off. `argument` is the value of `--otlp-endpoint`, which clap takes from the
    /// general variable where it is not given.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code if one of them cannot be used.
    pub(super) fn find(
        argument: Option<&str>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ExitError> {
        // What is empty counts as not there, says the specification.
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, set(name)?)));
        let is_disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let argument = argument.filter(|value| !value.trim().is_empty());
        let given = argument.filter(|argument| set(ENDPOINT).as_deref() != Some(argument));
        let (name, endpoint) = match (given, set(TRACES_ENDPOINT), argument) {
            (Some(given), _, _) => (ARGUMENT, given.to_owned()),
            (None, Some(endpoint), _) => (TRACES_ENDPOINT, endpoint),
            (None, None, Some(argument)) => (ENDPOINT, argument.to_owned()),
            (None, None, None) => return Ok(None),
        };
        if is_disabled {
            return Ok(None);
        }
        let uri = endpoint.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
        let is_tls = match uri.as_ref().and_then(Uri::scheme_str) {
            Some("http") => false,
            Some("https") => true,
            _ => {
                return Err(ExitError::configuration(format!(
                    "{name} is `{endpoint}`; it must be a URL such as http://host:4317 or https://host:4317"
                )));
            }
        };
        if let Some((name, protocol)) = first(PROTOCOLS)
            && protocol != "grpc"
        {
            return Err(ExitError::configuration(format!(
                "{name} is `{protocol}`; traces are sent by grpc, to which collectors listen at port 4317"
            )));
        }
        let certificate = match first(CERTIFICATES) {
            Some((name, path)) if is_tls => {
                let read = std::fs::read_to_string(&path);
                Some(read.map_err(|error| ExitError::configuration(format!("{name} is `{path}`: {error}")))?)
            }
            _ => None,
        };
        Ok(Some(Self {
            endpoint,
            is_tls,
            certificate,
        }))
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What sends to the endpoint, over a connection that is made when there is something to send. It takes headers,
    /// timeout and compression from the environment by itself.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code if one of these cannot be used.
    pub(super) fn exporter(&self) -> Result<SpanExporter, ExitError> {
        let mut builder = SpanExporter::builder().with_tonic().with_endpoint(&self.endpoint);
        if self.is_tls {
            let mut tls = ClientTlsConfig::new().with_native_roots();
            if let Some(certificate) = &self.certificate {
                tls = tls.ca_certificate(Certificate::from_pem(certificate));
            }
            builder = builder.with_tls_config(tls);
        }
        let built = builder.build();
        built.map_err(|error| ExitError::configuration(format!("traces cannot be sent to {}: {error}", self.endpoint)))
    }
}

/// Who sends: the program and, from the environment (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), what its operator
/// calls it.
pub(super) fn resource(process: &str) -> Resource {
    let is_named = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty())
        || std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|attributes| attributes.contains("service.name="));
    let resource = Resource::builder().with_attribute(opentelemetry::KeyValue::new("service.version", VERSION));
    let resource = if is_named {
        resource
    } else {
        resource.with_service_name(format!("anytime-{process}"))
    };
    resource.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(argument: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::find(argument, &variable).map_err(|error| error.to_string())
    }

    #[test]
    fn the_argument_counts_more_than_the_variables_and_the_one_for_traces_more_than_the_general_one() {
        let endpoint = |argument, variables: &[(&str, &str)]| {
            let found = find(argument, variables).expect("usable");
            found.map(|settings| settings.endpoint)
        };
        assert_eq!(endpoint(None, &[]), None);
        assert_eq!(endpoint(Some(""), &[(TRACES_ENDPOINT, " ")]), None);
        let (general, traces) = (
            (ENDPOINT, "http://general:4317"),
            (TRACES_ENDPOINT, "http://traces:4317"),
        );
        // Clap passes the general one on as if it were the argument.
        let passed = Some("http://general:4317");
        assert_eq!(endpoint(passed, &[general]).as_deref(), passed);
        assert_eq!(
            endpoint(passed, &[general, traces]).as_deref(),
            Some("http://traces:4317")
        );
        assert_eq!(endpoint(None, &[traces]).as_deref(), Some("http://traces:4317"));
        let given = Some("https://given:4317");
        assert_eq!(endpoint(given, &[general, traces]).as_deref(), given);
        assert_eq!(endpoint(given, &[("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(endpoint(given, &[("OTEL_TRACES_EXPORTER", "none")]), None);
        assert!(find(given, &[]).expect("usable").expect("on").is_tls);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_its_name() {
        for bad in ["localhost:4317", "ftp://host:1", "http://", "not a url"] {
            let refused = find(Some(bad), &[]).expect_err(bad);
            let expected = format!("--otlp-endpoint is `{bad}`; it must be a URL such as http://host:4317");
            assert!(refused.starts_with(&expected), "{refused}");
        }
        let refused = find(None, &[(TRACES_ENDPOINT, "nowhere")]).expect_err("no URL");
        assert!(
            refused.starts_with("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is `nowhere`"),
            "{refused}"
        );
        let good = Some("https://host:4317");
        let refused = find(good, &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]).expect_err("not grpc");
        assert!(
            refused.starts_with("OTEL_EXPORTER_OTLP_PROTOCOL is `http/protobuf`; traces are sent by grpc"),
            "{refused}"
        );
        let refused = find(good, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem")]).expect_err("no file");
        assert!(
            refused.starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE is `/nowhere/ca.pem`: "),
            "{refused}"
        );
        // Without TLS nobody looks at it.
        assert!(
            find(
                Some("http://host:4317"),
                &[("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem")]
            )
            .is_ok()
        );
    }
}
