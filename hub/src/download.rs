//! Fetches one file: beside its place, from where an earlier try broke off, and into its place only when its size and its
//! checksum are those of the listing. What is in memory is one piece of the answer.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode, Url};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

use crate::cache::Cached;
use crate::error::HubError;
use crate::listing::HubFile;
use crate::progress::Counter;
use crate::settings::Patience;
use crate::web::{Asked, Web};

/// Bytes that are read from the disk at a time.
const BUFFER: usize = 1 << 20;

/// What fetches the files of one commit.
pub(crate) struct Download<'a> {
    pub(crate) web: &'a Web<'a>,
    pub(crate) patience: &'a Patience,
    pub(crate) cached: &'a Cached,
    pub(crate) counter: &'a Counter,
}

/// The checksum that the listing has for a file, of the bytes so far.
enum Checksum {
    Sha256(Sha256),
    Git(sha1_smol::Sha1),
}

impl Checksum {
    fn of(file: &HubFile) -> Self {
        if file.checksum.len() == 64 {
            return Self::Sha256(Sha256::new());
        }
        let mut sha = sha1_smol::Sha1::new();
        sha.update(format!("blob {}\0", file.bytes).as_bytes());
        Self::Git(sha)
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(sha) => sha.update(bytes),
            Self::Git(sha) => sha.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(sha) => sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Git(sha) => sha.digest().to_string(),
        }
    }
}

impl Download<'_> {
    /// Fetches the content of a file unless it is there.
    pub(crate) async fn file(&self, url: &Url, file: &HubFile, asked: &Asked<'_>) -> Result<(), HubError> {
        if !self.cached.has_blob(file) {
            let _lock = self.cached.lock(file, self.patience.lock).await?;
            // Somebody else may have fetched it meanwhile.
            if !self.cached.has_blob(file) {
                self.fetch(url, file, asked).await?;
                self.counter.file_is_there();
                return Ok(());
            }
        }
        self.counter.found(file.bytes);
        self.counter.file_is_there();
        Ok(())
    }

    /// What is wrong with the bytes of one try costs another from the beginning, because a part of an earlier process may
    /// be at fault. Twice is enough.
    async fn fetch(&self, url: &Url, file: &HubFile, asked: &Asked<'_>) -> Result<(), HubError> {
        let path = self.cached.incomplete(file);
        let mut is_second = false;
        loop {
            let reason = match self.complete(&path, url, file, asked).await? {
                Ok(found) if found == file.checksum => break,
                Ok(found) => format!("its checksum is {found} instead of {}", file.checksum),
                Err(reason) => reason,
            };
            let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            fs::remove_file(&path).map_err(HubError::disk(&path))?;
            self.counter.lost(length);
            if is_second {
                return Err(HubError::Checksum {
                    host: self.web.host(),
                    path: file.path.clone(),
                    reason,
                });
            }
            is_second = true;
        }
        let blob = self.cached.blob(file);
        fs::rename(&path, &blob).map_err(HubError::disk(&blob))
    }

    /// Brings a file to its size, and gives the checksum of what it is then; or why its content cannot be right.
    async fn complete(
        &self,
        path: &Path,
        url: &Url,
        file: &HubFile,
        asked: &Asked<'_>,
    ) -> Result<Result<String, String>, HubError> {
        let mut part = Part::open(path, file)?;
        self.counter.found(part.bytes);
        let mut without_progress = 0;
        while part.bytes < file.bytes {
            let before = part.bytes;
            let from = (before > 0).then_some(before);
            let response = match self.web.get(url, from, asked).await {
                Ok(response) => response,
                Err(HubError::Strange { reason, .. }) if from.is_some() => {
                    // Such as 416, because the file is shorter than what is there of it.
                    return Ok(Err(reason));
                }
                Err(error) => return Err(error),
            };
            match self.take(response, &mut part, file).await {
                Ok(Taken::All) => {}
                Ok(Taken::TooMuch) => return Ok(Err(format!("it is longer than {} bytes", file.bytes))),
                Err(error @ HubError::Unreachable { .. }) => {
                    without_progress = if part.bytes > before { 0 } else { without_progress + 1 };
                    if without_progress >= self.patience.tries {
                        return Err(error);
                    }
                    sleep(self.web.pause(without_progress + 1)).await;
                }
                Err(error) => return Err(error),
            }
        }
        part.file.sync_all().map_err(HubError::disk(path))?;
        Ok(Ok(part.checksum.finish()))
    }

    /// Writes what an answer brings.
    async fn take(&self, mut response: Response, part: &mut Part<'_>, file: &HubFile) -> Result<Taken, HubError> {
        if part.bytes > 0 && !begins_at(&response, part.bytes) {
            // The answer begins at the beginning, as that of a server does that knows no ranges.
            self.counter.lost(part.bytes);
            part.restart(file)?;
        }
        while let Some(chunk) = self.web.chunk(&mut response).await? {
            let chunk = chunk.as_ref();
            if part.bytes + chunk.len() as u64 > file.bytes {
                return Ok(Taken::TooMuch);
            }
            part.append(chunk)?;
            self.counter.fetched(chunk.len() as u64);
        }
        if part.bytes < file.bytes {
            return Err(HubError::Unreachable {
                host: self.web.host(),
                reason: format!("{} ended after {} of {} bytes", file.path, part.bytes, file.bytes),
                hint: "",
            });
        }
        Ok(Taken::All)
    }
}

/// How an answer ended.
enum Taken {
    /// With the file's last byte.
    All,
    /// It goes on behind that.
    TooMuch,
}

/// Whether an answer goes on at this byte.
fn begins_at(response: &Response, from: u64) -> bool {
    let range = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse::<u64>().ok());
    response.status() == StatusCode::PARTIAL_CONTENT && start == Some(from)
}

/// The file that grows, with the checksum of what it has.
struct Part<'a> {
    path: &'a Path,
    file: File,
    bytes: u64,
    checksum: Checksum,
}

impl<'a> Part<'a> {
    fn open(path: &'a Path, wanted: &HubFile) -> Result<Self, HubError> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).open(path);
        let file = file.map_err(HubError::disk(path))?;
        let mut part = Self {
            path,
            file,
            bytes: 0,
            checksum: Checksum::of(wanted),
        };
        part.read_again(wanted)?;
        Ok(part)
    }

    /// Takes over what an earlier try has left. More than the whole file is of another one.
    fn read_again(&mut self, wanted: &HubFile) -> Result<(), HubError> {
        let length = self.file.metadata().map_err(HubError::disk(self.path))?.len();
        if length > wanted.bytes {
            return self.restart(wanted);
        }
        let mut buffer = vec![0; BUFFER];
        // No further than it says that it is long: what stands there may be no regular file.
        let mut rest = (&self.file).take(length);
        loop {
            let read = rest.read(&mut buffer).map_err(HubError::disk(self.path))?;
            if read == 0 {
                return Ok(());
            }
            self.checksum.update(&buffer[..read]);
            self.bytes += read as u64;
        }
    }

    fn restart(&mut self, wanted: &HubFile) -> Result<(), HubError> {
        let cut = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        cut.map_err(HubError::disk(self.path))?;
        self.bytes = 0;
        self.checksum = Checksum::of(wanted);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(HubError::disk(self.path))?;
        self.checksum.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
