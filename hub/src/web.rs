//! Requests to the hub. Every wait has an end. What may pass (no connection, 429, 5xx) is tried again. Redirects are
//! followed here, and not by the client: the token goes to the hub's own scheme, host and port, and nowhere else.

use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LINK, LOCATION, RANGE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::HubError;
use crate::repository::Repository;
use crate::settings::Settings;

/// The most bytes of one page of a listing.
const LARGEST_PAGE: usize = 32 << 20;

/// Redirects of one request.
const MOST_REDIRECTS: usize = 10;

const MAY_NEED_TOKEN: &str = ", or does not show it without a token that may read it (HF_TOKEN)";

const WITHOUT_NETWORK: &str =
    "; without a network, fetch it elsewhere, copy the cache (HF_HOME) and set HF_HUB_OFFLINE=1";

/// Makes requests to one hub.
pub(crate) struct Web<'a> {
    client: Client,
    settings: &'a Settings,
}

/// What is asked for, for messages.
pub(crate) struct Asked<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) what: &'a str,
}

/// A client of HTTP and HTTPS that trusts what this machine trusts, follows no redirect, and gives up a connection after
/// this time.
///
/// # Errors
/// Why there can be none, in words.
pub fn http_client(connect: Duration) -> Result<Client, String> {
    Client::builder()
        .user_agent(concat!("anytime/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .tls_backend_preconfigured(tls()?)
        .build()
        .map_err(|error| reason(&error))
}

impl<'a> Web<'a> {
    /// Makes no connection yet.
    pub(crate) fn new(settings: &'a Settings) -> Result<Self, HubError> {
        let strange = |reason: String| HubError::Strange {
            host: host(&settings.endpoint),
            reason,
        };
        let client = http_client(settings.patience.connect).map_err(strange)?;
        Ok(Self { client, settings })
    }

    /// The hub, for messages.
    pub(crate) fn host(&self) -> String {
        host(&self.settings.endpoint)
    }

    /// An address of the hub.
    pub(crate) fn url<'s>(&self, segments: impl IntoIterator<Item = &'s str>) -> Url {
        let mut url = self.settings.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// A page of JSON, and the query of the next page where there is one.
    pub(crate) async fn page<T: DeserializeOwned>(
        &self,
        url: &Url,
        asked: &Asked<'_>,
    ) -> Result<(T, Option<String>), HubError> {
        let mut tried = 0;
        loop {
            let mut response = self.get(url, None, asked).await?;
            let next = next_query(response.headers(), url);
            match self.body(&mut response).await {
                Ok(body) => {
                    let page = serde_json::from_slice(&body);
                    return page.map(|page| (page, next)).map_err(|error| HubError::Strange {
                        host: self.host(),
                        reason: format!("{} as JSON: {error}", asked.what),
                    });
                }
                Err(error @ HubError::Unreachable { .. }) => {
                    tried += 1;
                    if tried >= self.settings.patience.tries {
                        return Err(error);
                    }
                    sleep(self.pause(tried)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn body(&self, response: &mut Response) -> Result<Vec<u8>, HubError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(response).await? {
            body.extend_from_slice(chunk.as_ref());
            if body.len() > LARGEST_PAGE {
                return Err(HubError::Strange {
                    host: self.host(),
                    reason: format!("a listing of more than {LARGEST_PAGE} bytes"),
                });
            }
        }
        Ok(body)
    }

    /// The next bytes of an answer; none at its end.
    pub(crate) async fn chunk(&self, response: &mut Response) -> Result<Option<impl AsRef<[u8]> + use<>>, HubError> {
        let silence = self.settings.patience.silence;
        match timeout(silence, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(unreachable(response.url(), &reason(&error.without_url()))),
            Err(_) => Err(unreachable(
                response.url(),
                &format!("it sent nothing for {} s", silence.as_secs_f64()),
            )),
        }
    }

    /// An answer whose status is a success, behind all redirects; from this byte on, if that is given.
    pub(crate) async fn get(&self, url: &Url, from: Option<u64>, asked: &Asked<'_>) -> Result<Response, HubError> {
        let mut tried = 0;
        loop {
            let outcome = self.follow(url, from).await;
            let (error, pause) = match outcome {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let pause = retry_after(response.headers());
                    (self.refusal(&response, asked, pause), pause)
                }
                Err(error) => (error, None),
            };
            let may_pass = matches!(error, HubError::Unreachable { .. } | HubError::TooMany { .. });
            tried += 1;
            let pause = pause.unwrap_or_else(|| self.pause(tried));
            if !may_pass || tried >= self.settings.patience.tries || pause > self.settings.patience.pause {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    /// The pause before a try, longer each time.
    pub(crate) fn pause(&self, tried: u32) -> Duration {
        let patience = &self.settings.patience;
        let factor = 1 << tried.saturating_sub(1).min(8);
        (patience.first_pause * factor).min(patience.pause)
    }

    /// Sends one request, and those that its redirects ask for.
    async fn follow(&self, url: &Url, from: Option<u64>) -> Result<Response, HubError> {
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            // Compressed bytes would have another length and another checksum.
            let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
            if let Some(token) = self.settings.token.as_ref().filter(|_| self.may_have_token(&url)) {
                request = request.header(AUTHORIZATION, token.header());
            }
            if let Some(from) = from {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            let answer = self.settings.patience.answer;
            let response = match timeout(answer, request.send()).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(unreachable(&url, &reason(&error.without_url()))),
                Err(_) => {
                    let reason = format!("it did not answer within {} s", answer.as_secs_f64());
                    return Err(unreachable(&url, &reason));
                }
            };
            if !response.status().is_redirection() {
                return Ok(response);
            }
            url = self.target(&url, &response)?;
        }
        Err(HubError::Strange {
            host: self.host(),
            reason: format!("more than {MOST_REDIRECTS} redirects"),
        })
    }

    fn target(&self, from: &Url, response: &Response) -> Result<Url, HubError> {
        let strange = |reason: String| HubError::Strange {
            host: host(from),
            reason,
        };
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| strange("a redirect to nowhere".to_owned()))?;
        // The address itself is not shown: signed addresses are as good as a token.
        let target = from
            .join(location)
            .map_err(|error| strange(format!("a redirect to no address ({error})")))?;
        let is_plain_http = target.scheme() == "http" && from.scheme() == "http";
        if target.scheme() != "https" && !is_plain_http {
            return Err(strange(format!(
                "a redirect from {} to {}, which is not followed",
                from.scheme(),
                target.scheme()
            )));
        }
        Ok(target)
    }

    /// The token goes to the hub itself, and only where nobody between can read it.
    fn may_have_token(&self, url: &Url) -> bool {
        let hub = &self.settings.endpoint;
        let is_hub = url.scheme() == hub.scheme()
            && url.host() == hub.host()
            && url.port_or_known_default() == hub.port_or_known_default();
        is_hub && (url.scheme() == "https" || is_this_machine(url))
    }

    /// What a status that is no success means.
    fn refusal(&self, response: &Response, asked: &Asked<'_>, pause: Option<Duration>) -> HubError {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let code = header("x-error-code").unwrap_or_default();
        let (host, status) = (host(response.url()), response.status());
        let has_token = self.settings.token.is_some() && self.may_have_token(&self.settings.endpoint);
        let what = || format!("{} of {}", asked.what, asked.repository);
        let page = self.url(asked.repository.page());
        let refused = |advice: String| HubError::Refused {
            host: host.clone(),
            what: what(),
            caller: if has_token {
                "this token"
            } else {
                "a caller without a token"
            },
            advice,
        };
        let missing = |what: String, hint| HubError::NotFound {
            host: host.clone(),
            what,
            hint,
        };
        match (status, code) {
            (StatusCode::TOO_MANY_REQUESTS, _) => HubError::TooMany { host, pause },
            (_, "GatedRepo") => refused(format!(
                "it is gated; accept its terms at {page} and set HF_TOKEN to a token of that account"
            )),
            (_, "DisabledRepo") => refused("the repository is disabled".to_owned()),
            (_, "RevisionNotFound" | "EntryNotFound") => missing(what(), ""),
            (StatusCode::UNAUTHORIZED, "RepoNotFound") | (StatusCode::NOT_FOUND, _) => missing(
                if code == "RepoNotFound" {
                    asked.repository.to_string()
                } else {
                    what()
                },
                if has_token {
                    ", or this token may not read it"
                } else {
                    MAY_NEED_TOKEN
                },
            ),
            (StatusCode::UNAUTHORIZED, _) => refused(if has_token {
                "it does not know the token; it may have been revoked".to_owned()
            } else {
                "set HF_TOKEN, or log in with `hf auth login`".to_owned()
            }),
            (StatusCode::FORBIDDEN, _) => refused(format!("its account may not read {page}")),
            _ if status.is_server_error() => unreachable(response.url(), &format!("it answers {status}")),
            _ => HubError::Strange {
                host,
                reason: format!("{status} for {}", what()),
            },
        }
    }
}

fn tls() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // Those of the system, or of SSL_CERT_FILE and SSL_CERT_DIR.
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    let provider = std::sync::Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Scheme, name and port, without what could be secret.
fn host(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// The header with the key of a file, which no log shows.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn bearer_of_file(path: &Path) -> Result<HeaderValue, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
        .map_err(|_| "it must hold a key of visible characters".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether an address is one of this machine's own, which nobody else hears.
pub fn is_this_machine(url: &Url) -> bool {
    let name = url.host_str().unwrap_or_default();
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn unreachable(url: &Url, reason: &str) -> HubError {
    HubError::Unreachable {
        host: host(url),
        reason: reason.to_owned(),
        hint: WITHOUT_NETWORK,
    }
}

/// The innermost cause, which says more than "error sending request".
fn reason(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

/// The pause that an answer asks for: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The query of the next page, which is asked for at the same address: a mirror may pass on its hub's links.
fn next_query(headers: &HeaderMap, url: &Url) -> Option<String> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    url.join(address).ok()?.query().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().expect("a header"));
            retry_after(&headers)
        };
        assert_eq!(asked(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-1"), None);
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
        let pause = asked(&later).expect("a date");
        assert!((80..=90).contains(&pause.as_secs()), "{pause:?}");
    }

    #[test]
    fn the_next_page_is_found_in_its_link() {
        let url = Url::parse("https://mirror/api/models/a/b/tree/c?recursive=true").expect("an address");
        let next = |link: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().expect("a header"));
            next_query(&headers, &url)
        };
        let other_host = "<https://huggingface.co/api/models/a/b/tree/c?recursive=true&cursor=x%3D>; rel=\"next\"";
        assert_eq!(next(other_host).as_deref(), Some("recursive=true&cursor=x%3D"));
        assert_eq!(next("<https://h/a?b=1>; rel=\"prev\""), None);
        assert_eq!(next("rel=\"next\""), None);
    }
}
