//! From a file to what is in it: Parquet, or plain text without its compression and its byte order mark. What expands
//! is read through a bound, so that a small file cannot fill the memory or hold a thread for hours.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;
use std::rc::Rc;

/// Largest row in bytes of text.
const MAX_ROW_BYTES: u64 = 64 << 20;

/// A compressed file may expand to as much as this, whatever its own size is…
const ALWAYS_ALLOWED_BYTES: u64 = 4 << 30;

/// …and beyond that to so many times its size. A hundred repeats of every row compress about 200 times.
const MAX_EXPANSION: u64 = 400;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Bytes at the beginning of a file that show what it is.
const HEAD_BYTES: u64 = 64;

/// What a file holds.
pub(super) enum Content {
    /// A Parquet file.
    Parquet(File),
    /// UTF-8, as far as its beginning shows.
    Text(TextReader),
}

/// Plain text, and how many bytes the current row may still have.
pub(super) struct TextReader {
    pub(super) reader: Box<dyn BufRead>,
    pub(super) allowance: RowAllowance,
}

/// How many more bytes the row that is read may have. What reads rows renews it at every row.
#[derive(Clone)]
pub(super) struct RowAllowance(Rc<Cell<u64>>);

impl RowAllowance {
    /// A new row begins.
    pub(super) fn renew(&self) {
        self.0.set(MAX_ROW_BYTES);
    }
}

/// Fails once a row or the expansion of the file exceeds its bound.
struct Bounded<R> {
    inner: R,
    allowance: RowAllowance,
    /// The name of its compression, for messages.
    packed_by: Option<&'static str>,
    total: u64,
    most: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer).map_err(|error| match self.packed_by {
            Some(name) => std::io::Error::other(format!("its {name} is cut short or damaged: {error}")),
            None => error,
        })?;
        self.total += count as u64;
        if self.total > self.most {
            let message = format!(
                "it expands to more than {} GiB, {MAX_EXPANSION} times its size",
                self.most >> 30
            );
            return Err(std::io::Error::other(message));
        }
        let left = self.allowance.0.get();
        if count as u64 > left {
            let message = format!("a row has more than {} MiB", MAX_ROW_BYTES >> 20);
            return Err(std::io::Error::other(message));
        }
        self.allowance.0.set(left - count as u64);
        Ok(count)
    }
}

/// The members of a gzip file one behind the other. Zeros behind a member, with which archives and tapes fill their blocks,
/// are no part of it.
struct Members {
    /// None once the file has ended.
    current: Option<flate2::bufread::GzDecoder<BufReader<File>>>,
}

impl Members {
    fn of(file: File) -> Self {
        let reader = BufReader::with_capacity(BUFFER_BYTES, file);
        Self {
            current: Some(flate2::bufread::GzDecoder::new(reader)),
        }
    }
}

impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(current) = &mut self.current {
            let count = current.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(ended) = self.current.take() else { break };
            let mut reader = ended.into_inner();
            loop {
                let rest = reader.fill_buf()?;
                let zeros = rest.iter().take_while(|byte| **byte == 0).count();
                if zeros < rest.len() {
                    reader.consume(zeros);
                    self.current = Some(flate2::bufread::GzDecoder::new(reader));
                    break;
                }
                if zeros == 0 {
                    return Ok(0);
                }
                reader.consume(zeros);
            }
        }
        Ok(0)
    }
}

/// Formats that are told by their first bytes and not read, and what is said about them.
const FOREIGN: [(&[u8], &str); 10] = [
    (
        b"BZh",
        "it is compressed with bzip2; unpack it, or compress it with gzip or zstd",
    ),
    (
        b"\xFD7zXZ\0",
        "it is compressed with xz; unpack it, or compress it with gzip or zstd",
    ),
    (
        b"PK\x03\x04",
        "it is a zip archive (or a spreadsheet); unpack it, or write its rows as JSONL",
    ),
    (b"PARE", "it is an encrypted Parquet file; write it without encryption"),
    (b"ARROW1", "it is an Arrow file; write it as Parquet or JSONL"),
    // How a stream of Arrow begins each of its parts.
    (
        b"\xFF\xFF\xFF\xFF",
        "it is a stream of Arrow; write it as Parquet or JSONL",
    ),
    (
        b"SQLite format 3\0",
        "it is a SQLite database; write its rows as Parquet or JSONL",
    ),
    (b"\x89HDF", "it is an HDF5 file; write its rows as Parquet or JSONL"),
    (b"\xFF\xFE", "line 1 begins as UTF-16 does; write the file as UTF-8"),
    (b"\xFE\xFF", "line 1 begins as UTF-16 does; write the file as UTF-8"),
];

const GZIP: &[u8] = b"\x1F\x8B";
const ZSTD: &[u8] = b"\x28\xB5\x2F\xFD";
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How a pointer of git-lfs begins, which stands in the place of a file that was not fetched.
const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// What the file holds, by its content. `path` is where it lies.
///
/// # Errors
/// What is wrong with the file as a whole.
pub(super) fn open_content(mut file: File, path: &Path) -> Result<Content, String> {
    let failed = |error: std::io::Error| format!("it cannot be read ({error})");
    let size = file.metadata().map_err(failed)?.len();
    let mut head = Vec::new();
    file.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    check_head(&head)?;
    if head.starts_with(super::parquet::MAGIC) {
        return Ok(Content::Parquet(file));
    }
    if path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
    {
        return Err("it does not begin as Parquet does (PAR1)".to_owned());
    }
    let most = ALWAYS_ALLOWED_BYTES.max(size.saturating_mul(MAX_EXPANSION));
    if head.starts_with(GZIP) {
        text_of(Members::of(file), Some("gzip"), most)
    } else if head.starts_with(ZSTD) {
        let unpacked = zstd::Decoder::new(file).map_err(failed)?;
        text_of(unpacked, Some("zstd"), most)
    } else {
        text_of(file, None, u64::MAX)
    }
    .map(Content::Text)
}

/// The text behind its compression, from behind its byte order mark on.
fn text_of(inner: impl Read + 'static, packed_by: Option<&'static str>, most: u64) -> Result<TextReader, String> {
    let allowance = RowAllowance(Rc::new(Cell::new(MAX_ROW_BYTES)));
    let bounded = Bounded {
        inner,
        allowance: allowance.clone(),
        packed_by,
        total: 0,
        most,
    };
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, bounded);
    let start = reader
        .fill_buf()
        .map_err(|error| format!("it cannot be read ({error})"))?;
    if let Some(name) = packed_by {
        if start.starts_with(GZIP) || start.starts_with(ZSTD) {
            return Err("it is compressed twice; unpack it once".to_owned());
        }
        if start.starts_with(super::parquet::MAGIC) {
            return Err(format!(
                "it is a Parquet file within {name}; unpack it, Parquet compresses by itself"
            ));
        }
        check_head(start)?;
    }
    if start.starts_with(BYTE_ORDER_MARK) {
        reader.consume(BYTE_ORDER_MARK.len());
    }
    Ok(TextReader {
        reader: Box::new(reader),
        allowance,
    })
}

fn check_head(head: &[u8]) -> Result<(), String> {
    if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err((*what).to_owned());
    }
    if head.starts_with(LFS_POINTER) {
        return Err("it is a pointer of git-lfs and not the file itself, which `git lfs pull` fetches".to_owned());
    }
    // Letters of ASCII have a zero byte beside them in UTF-16.
    if let [first, second, ..] = head
        && (*first == 0) != (*second == 0)
    {
        return Err("line 1 looks like UTF-16; write the file as UTF-8".to_owned());
    }
    Ok(())
}
