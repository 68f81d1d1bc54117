//! A Redis of the test's own: on a free port, in a temporary directory, with an append-only file.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

pub(crate) struct RedisServer {
    directory: TempDir,
    port: u16,
    process: Option<Child>,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self {
            directory: TempDir::new().unwrap(),
            port,
            process: None,
        };
        server.restart();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// SIGKILL: what the append-only file does not hold is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// SIGSTOP: connections hold, and nothing is answered.
    pub(crate) fn stop_answering(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub(crate) fn answer_again(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").arg(format!("-{name}")).arg(pid).status().unwrap();
        assert!(status.success());
    }

    /// The data as they are on disk now.
    pub(crate) fn copy_of_data(&self) -> TempDir {
        let copy = TempDir::new().unwrap();
        for entry in std::fs::read_dir(self.directory.path().join("appendonlydir")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    /// Puts older data in the place of what is on disk; the server must not run.
    pub(crate) fn restore(&self, data: &TempDir) {
        assert!(self.process.is_none());
        self.wipe();
        let directory = self.directory.path().join("appendonlydir");
        std::fs::create_dir(&directory).unwrap();
        for entry in std::fs::read_dir(data.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), directory.join(entry.file_name())).unwrap();
        }
    }

    /// Deletes what is on disk.
    pub(crate) fn wipe(&self) {
        std::fs::remove_dir_all(self.directory.path().join("appendonlydir")).unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        let process = Command::new(program())
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &self.port.to_string(),
                "--save",
                "",
                "--appendonly",
                "yes",
            ])
            .arg("--dir")
            .arg(self.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis did not start");
    }

    pub(crate) async fn connection(&self) -> redis::aio::MultiplexedConnection {
        redis::Client::open(self.url())
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    for name in ["redis-server", "valkey-server"] {
        for directory in std::env::split_paths(&on_path) {
            let candidate = directory.join(name);
            if candidate.is_file() {
                return candidate;
            }
        }
    }
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps/bin/valkey-server");
    assert!(
        fetched.is_file(),
        "no redis-server or valkey-server on PATH; `make setup` fetches one"
    );
    fetched
}
