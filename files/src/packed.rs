//! A file of contents behind one another, compressed, with a head that is read without them.
//!
//! ```text
//! file   = record(head) · record(piece) · record(piece) …   each with its checksum, as in records.rs
//! pieces = one frame of zstd, cut up; in it, for each content: length (4 bytes, little endian) · content
//! ```
//!
//! The file is written in one step, so that it is there whole or not at all. A reader gives contents only from a file
//! that is whole so far: a damaged byte, a missing end or a foreign piece is an error, and never a shorter list.

use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use crate::file::write_durably_with;
use crate::part::WriteError;
use crate::records::{RecordReader, record};

/// How much of the frame is in one record.
const PIECE: usize = 1 << 20;

/// Higher levels take several times as long and save a few per cent of tokens and log-probabilities.
const LEVEL: i32 = 1;

/// The longest content. A damaged length asks for no more than this.
const LONGEST: usize = 1 << 28;

/// A packed file gives no more contents.
#[derive(Debug, thiserror::Error)]
pub enum PackedError {
    /// The disk does not give it.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It is not what was written.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Writes a head and contents to a file, which has the old content or all of the new one at every moment, and syncs it.
///
/// # Errors
/// [`WriteError`] if the disk refuses or a content is longer than 256 MiB; the old file is still there then.
pub fn write_packed(path: &Path, head: &[u8], contents: impl IntoIterator<Item = Vec<u8>>) -> Result<(), WriteError> {
    write_durably_with(path, |writer| {
        pack(writer, head, contents).map_err(|source| WriteError::new(path, source))
    })
}

fn pack(mut writer: impl Write, head: &[u8], contents: impl IntoIterator<Item = Vec<u8>>) -> io::Result<()> {
    writer.write_all(&record(head)?)?;
    let pieces = PieceWriter {
        writer,
        piece: Vec::with_capacity(PIECE),
    };
    let mut encoder = Encoder::new(pieces, LEVEL)?;
    // Holds the pieces together: each has a checksum of its own, but another file's would do as well.
    encoder.include_checksum(true)?;
    for content in contents {
        if content.len() > LONGEST {
            let problem = format!("a content of {} bytes; the longest has {LONGEST}", content.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        encoder.write_all(&(content.len() as u32).to_le_bytes())?;
        encoder.write_all(&content)?;
    }
    encoder.finish()?.finish()
}

/// Cuts what is written into records.
struct PieceWriter<W> {
    writer: W,
    piece: Vec<u8>,
}

impl<W: Write> PieceWriter<W> {
    fn finish(mut self) -> io::Result<()> {
        self.write_piece()
    }

    fn write_piece(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        self.writer.write_all(&record(&self.piece)?)?;
        self.piece.clear();
        Ok(())
    }
}

impl<W: Write> Write for PieceWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.write_piece()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Reads a packed file content by content.
pub struct PackedReader {
    path: PathBuf,
    head: Vec<u8>,
    contents: Decoder<'static, BufReader<PieceReader>>,
}

impl PackedReader {
    /// Opens a file and reads its head.
    ///
    /// # Errors
    /// If the file cannot be read, or does not begin with a head.
    pub fn open(path: &Path) -> Result<Self, PackedError> {
        let unreadable = |source| PackedError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut records = RecordReader::open(path, 0).map_err(unreadable)?;
        let head = match records.read_next().map_err(unreadable)? {
            Some((0, head)) => head,
            _ => {
                return Err(PackedError::Damaged {
                    path: path.to_owned(),
                    reason: "it does not begin with a whole head".to_owned(),
                });
            }
        };
        let pieces = PieceReader {
            records,
            piece: Vec::new(),
            read: 0,
        };
        Ok(Self {
            path: path.to_owned(),
            head,
            contents: Decoder::new(pieces).map_err(unreadable)?,
        })
    }

    /// The head.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The next content; none behind the last one.
    ///
    /// # Errors
    /// If the file cannot be read, or is not what was written. Nothing more is to be read then.
    pub fn read_next(&mut self) -> Result<Option<Vec<u8>>, PackedError> {
        self.content().map_err(|source| {
            let path = self.path.clone();
            // Errors of the disk have a number; those of this format and of zstd have none.
            if source.raw_os_error().is_some() {
                return PackedError::Unreadable { path, source };
            }
            PackedError::Damaged {
                path,
                reason: source.to_string(),
            }
        })
    }

    fn content(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 4];
        let (first, rest) = length.split_at_mut(1);
        if self.contents.read(first)? == 0 {
            return Ok(None);
        }
        self.contents.read_exact(rest)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST {
            return Err(damage(format!(
                "a content of {length} bytes; the longest has {LONGEST}"
            )));
        }
        let mut content = Vec::new();
        (&mut self.contents).take(length as u64).read_to_end(&mut content)?;
        if content.len() < length {
            return Err(damage("it ends within a content".to_owned()));
        }
        Ok(Some(content))
    }
}

/// The pieces of the frame behind one another.
struct PieceReader {
    records: RecordReader,
    piece: Vec<u8>,
    /// How much of the piece was given out.
    read: usize,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() {
            let next = self.records.read_next()?;
            let damaged = self.records.damaged();
            if damaged > 0 {
                return Err(damage(format!("{damaged} bytes belong to no whole record")));
            }
            let Some((_, piece)) = next else {
                return match self.records.rest() {
                    0 => Ok(0),
                    rest => Err(damage(format!("its last {rest} bytes are no whole record"))),
                };
            };
            (self.piece, self.read) = (piece, 0);
        }
        let taken = buffer.len().min(self.piece.len() - self.read);
        buffer[..taken].copy_from_slice(&self.piece[self.read..self.read + taken]);
        self.read += taken;
        Ok(taken)
    }
}

fn damage(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(path: &Path) -> Result<(Vec<u8>, Vec<Vec<u8>>), PackedError> {
        let mut reader = PackedReader::open(path)?;
        let mut contents = Vec::new();
        while let Some(content) = reader.read_next()? {
            contents.push(content);
        }
        Ok((reader.head().to_vec(), contents))
    }

    /// Contents that do not compress, so that a file has several pieces, and ones that do.
    fn contents() -> Vec<Vec<u8>> {
        let mut state = 1_u64;
        let mut noise = |length: usize| {
            let bytes = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u8
            });
            bytes.take(length).collect::<Vec<u8>>()
        };
        vec![
            noise(PIECE + 5),
            Vec::new(),
            vec![7; 300_000],
            noise(PIECE),
            b"last".to_vec(),
        ]
    }

    fn written() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("packed");
        write_packed(&path, b"head", contents()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        (directory, path, bytes)
    }

    #[test]
    fn what_is_written_is_read() {
        let (_directory, path, bytes) = written();
        assert_eq!(read_all(&path).unwrap(), (b"head".to_vec(), contents()));
        assert!(bytes.len() < 2 * PIECE + 100_000, "what can be compressed is");
        write_packed(&path, b"", Vec::new()).unwrap();
        assert_eq!(read_all(&path).unwrap(), (Vec::new(), Vec::new()));
    }

    #[test]
    fn any_damage_is_an_error_and_never_a_shorter_list() {
        let (_directory, path, whole) = written();
        let step = whole.len() / 97;
        for place in (0..40).chain((40..whole.len()).step_by(step)) {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x04;
            std::fs::write(&path, &bytes).unwrap();
            let error = read_all(&path).expect_err("a damaged byte is found");
            assert!(matches!(error, PackedError::Damaged { .. }), "byte {place}: {error}");
            std::fs::write(&path, &whole[..place]).unwrap();
            read_all(&path).expect_err("a missing end is found");
        }
        std::fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        read_all(&path).expect_err("more than was written is found");
    }

    #[test]
    fn pieces_that_are_whole_but_not_of_this_file_are_found() {
        let (_directory, path, whole) = written();
        let mut records = RecordReader::open(&path, 0).unwrap();
        let mut pieces = Vec::new();
        while let Some((_, piece)) = records.read_next().unwrap() {
            pieces.push(record(&piece).unwrap());
        }
        assert_eq!(pieces.concat(), whole);
        assert!(pieces.len() > 3, "a head and three pieces or more");
        let without_last = pieces[..pieces.len() - 1].concat();
        let without_second = [&pieces[..2], &pieces[3..]].concat().concat();
        let swapped = [&pieces[..1], &pieces[2..3], &pieces[1..2], &pieces[3..]]
            .concat()
            .concat();
        for (what, bytes) in [
            ("the last is missing", without_last),
            ("one is missing", without_second),
            ("two are swapped", swapped),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = read_all(&path).expect_err(what);
            assert!(matches!(error, PackedError::Damaged { .. }), "{what}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_not_damaged() {
        let error = PackedReader::open(Path::new("/nowhere/at/all")).err().unwrap();
        assert!(matches!(error, PackedError::Unreadable { .. }), "{error}");
        assert_eq!(error.to_string(), "cannot read /nowhere/at/all");
    }
}
