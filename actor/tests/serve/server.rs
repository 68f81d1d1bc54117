//! A server in this process, on a small random model whose tokens are single bytes, so that markers take several tokens and
//! characters are split over them.

use std::path::Path;
use std::sync::{Arc, LazyLock, OnceLock};

use anytime_actor::config::{Args, Command};
use anytime_policy::{ModelConfig, initialise_weights, write_model};
use anytime_proto::v1::reason_service_client::ReasonServiceClient;
use anytime_service::security::ServerSecurity;
use anytime_service::telemetry::{self, MetricsText};
use clap::Parser as _;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tch::{Device, Kind};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// What opens a summary.
pub(crate) const SUMMARY: &str = "\n*\n";

/// The characters of the vocabulary, a token for each byte; those of é and € have two and three.
const LETTERS: &str = "abcdeou 0123456789.-#*\n<té€";

/// The end of a sequence, behind the bytes.
const EOS: &str = "<eos>";

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().unwrap()
    })
}

/// Runs a test on the runtime that the servers share.
pub(crate) fn run(test: impl Future<Output = ()> + Send + 'static) {
    run_within(100, test);
}

/// As [`run`], for a test that may take so many seconds.
pub(crate) fn run_within(seconds: u64, test: impl Future<Output = ()> + Send + 'static) {
    runtime().block_on(async {
        let limit = std::time::Duration::from_secs(seconds);
        tokio::time::timeout(limit, tokio::spawn(test))
            .await
            .expect("in time")
            .unwrap();
    });
}

pub(crate) fn metrics() -> MetricsText {
    static METRICS: OnceLock<MetricsText> = OnceLock::new();
    let start = || {
        let _inside = runtime().enter();
        let Some(Command::Serve(args)) = parsed(&["--model", "none"]).command else {
            panic!("no serve")
        };
        let (metrics, _sending) =
            telemetry::start_serving("actor", &args.telemetry, &ServerSecurity::default()).unwrap();
        metrics
    };
    METRICS.get_or_init(start).clone()
}

fn parsed(arguments: &[&str]) -> Args {
    Args::try_parse_from([&["anytime-actor", "serve"], arguments].concat()).unwrap()
}

/// The symbol by which byte-level tokenizers spell a byte.
fn symbol(byte: u8) -> char {
    let is_printed = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if is_printed(byte) {
        return char::from(byte);
    }
    let place = (0..byte).filter(|&earlier| !is_printed(earlier)).count() as u32;
    char::from_u32(256 + place).unwrap()
}

/// Writes a model of random weights.
pub(crate) fn write_model_directory(directory: &Path, added: Option<&str>) {
    let mut bytes: Vec<u8> = LETTERS.bytes().collect();
    bytes.sort_unstable();
    bytes.dedup();
    let mut vocabulary: serde_json::Map<String, Value> = bytes
        .iter()
        .enumerate()
        .map(|(id, &byte)| (symbol(byte).to_string(), id.into()))
        .collect();
    let mut added_tokens = Vec::new();
    for text in [Some(EOS), added].into_iter().flatten() {
        let id = vocabulary.len();
        vocabulary.insert(text.to_owned(), id.into());
        added_tokens.push(json!({
            "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }));
    }
    let size = vocabulary.len();
    let eos = bytes.len();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added_tokens, "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "dropout": null, "unk_token": null},
    });
    std::fs::create_dir_all(directory).unwrap();
    std::fs::write(directory.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}";
    std::fs::write(directory.join("chat_template.jinja"), template).unwrap();
    let config = json!({
        "model_type": "qwen2", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": size, "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "initializer_range": 0.1,
        "eos_token_id": eos,
    });
    let config = ModelConfig::from_json(&config.to_string()).unwrap();
    let weights = initialise_weights(&config, 3, Device::Cpu);
    write_model(directory, &config, &weights, Kind::Float).unwrap();
}

/// Where the whole workspace is built, reqwest has TLS and asks for a provider even without it.
fn new_client() -> Client {
    static CLIENT: LazyLock<Client> = LazyLock::new(|| {
        // Another server of this process may have installed it.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        // A connection ends with the runtime of the test that opened it, and would be of no use to the next.
        Client::builder().pool_max_idle_per_host(0).build().unwrap()
    });
    // Each client would read all CAs of this machine.
    CLIENT.clone()
}

/// A server, which ends with this value.
pub(crate) struct Server {
    address: String,
    client: Client,
    stop: CancellationToken,
    _directory: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Server {
    /// Starts one whose thinking ends with this marker, which may be an added token.
    pub(crate) async fn start(marker: &str, is_added: bool, further: &[&str]) -> Arc<Self> {
        let metrics = metrics();
        let directory = tempfile::tempdir().unwrap();
        let model = directory.path().join("tiny");
        write_model_directory(&model, is_added.then_some(marker));
        let port_file = directory.path().join("port");
        let own = [
            "--model",
            model.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
            "--port-file",
            port_file.to_str().unwrap(),
            "--markers-end",
            marker,
            "--markers-cut",
            "..",
            "--markers-summary",
            SUMMARY,
            "--budgets",
            "4,8,16,32",
            "--max-thinking",
            "200",
            "--max-summary-tokens",
            "12",
            "--max-prompt-tokens",
            "100",
            "--slots",
            "12",
            "--cache-gib",
            "0.1",
            "--device",
            "cpu",
        ];
        let Some(Command::Serve(args)) = parsed(&[&own[..], further].concat()).command else {
            panic!("no serve")
        };
        let stop = CancellationToken::new();
        let ends = stop.clone();
        tokio::spawn(async move {
            anytime_actor::serve(&args, &ServerSecurity::default(), metrics, ends)
                .await
                .unwrap();
        });
        let address = loop {
            match std::fs::read_to_string(&port_file) {
                Ok(text) => break text.trim().to_owned(),
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        };
        Arc::new(Self {
            address,
            client: new_client(),
            stop,
            _directory: directory,
        })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A client of its calls.
    pub(crate) fn reasoner(&self) -> ReasonServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(self.url("")).unwrap();
        ReasonServiceClient::new(endpoint.connect_lazy())
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    /// Posts to another path.
    pub(crate) async fn post_to(&self, path: &str, body: &'static str) -> Response {
        self.client.post(self.url(path)).body(body).send().await.unwrap()
    }

    /// Posts a request; a text is sent as it stands.
    pub(crate) async fn post(&self, body: &Value) -> Response {
        let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let request = self.client.post(self.url("/v1/chat/completions"));
        request
            .header("content-type", "application/json")
            .body(text)
            .send()
            .await
            .unwrap()
    }

    /// The answer to a request with these fields beside its message.
    pub(crate) async fn answer(&self, fields: Value) -> Value {
        let response = self.post(&with_message(fields)).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The same, streamed: all chunks.
    pub(crate) async fn chunks(&self, fields: Value) -> Vec<Value> {
        let mut fields = fields;
        fields["stream"] = true.into();
        let response = self.post(&with_message(fields)).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{text}");
        chunks_of(&text)
    }

    /// The value of a metric with these words in its line; 0 where there is none.
    pub(crate) async fn metric(&self, name: &str, words: &str) -> f64 {
        let text = self.get("/metrics").await.text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with(name) && line.contains(words));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or(0.0)
    }

    /// Waits until nothing is under way.
    pub(crate) async fn idle(&self) {
        for _ in 0..500 {
            let health: Value = serde_json::from_str(&self.get("/health").await.text().await.unwrap()).unwrap();
            if health["in_flight"] == 0 && health["slots_used"] == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("requests stay under way");
    }
}

/// The fields with a message of the user.
pub(crate) fn with_message(mut fields: Value) -> Value {
    if fields.get("messages").is_none() {
        fields["messages"] = json!([{"role": "user", "content": "abc 12"}]);
    }
    fields
}

/// The chunks of a whole stream, which ends as it should.
pub(crate) fn chunks_of(text: &str) -> Vec<Value> {
    let mut lines: Vec<&str> = text.split("\n\n").filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.pop(), Some("data: [DONE]"), "{text}");
    let chunk = |line: &&str| serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap();
    lines.iter().map(chunk).collect()
}

/// The texts of a field of all deltas, together.
pub(crate) fn joined(chunks: &[Value], field: &str) -> String {
    let texts = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"][field].as_str());
    texts.collect()
}
