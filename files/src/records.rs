//! A file that records are appended to. Each says its length and carries a checksum, so that damage costs the records
//! that it hit and no other: a reader goes on with the next whole one, and nothing is ever cut off.
//!
//! ```text
//! record = mark (4 bytes) · length (4, little endian) · checksum (8) · content
//! ```
//!
//! The checksum is the beginning of BLAKE3 over length and content.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What every record begins with. No UTF-8 text holds it.
const MARK: [u8; 4] = [0xFE, b'R', b'E', 0xFD];

/// The bytes before the content.
const HEAD: usize = 16;

/// A longer record is not valid. This bounds what a damaged length can ask for.
const LONGEST: usize = 64 << 20;

/// How much is read at a time.
const CHUNK: usize = 1 << 16;

/// A record with this content, to be appended.
///
/// # Errors
/// If the content is longer than 64 MiB.
pub fn record(content: &[u8]) -> io::Result<Vec<u8>> {
    if content.len() > LONGEST {
        let problem = format!("a record of {} bytes; the longest has {LONGEST}", content.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let length = (content.len() as u32).to_le_bytes();
    let mut record = Vec::with_capacity(HEAD + content.len());
    record.extend(MARK);
    record.extend(length);
    record.extend(checksum(length, content));
    record.extend(content);
    Ok(record)
}

/// The content of a file or message that is one record and nothing else; none where it is not, or is damaged.
pub fn only_record(bytes: &[u8]) -> Option<&[u8]> {
    let content = bytes.get(HEAD..)?;
    (bytes[..4] == MARK
        && bytes[4..8] == (u32::try_from(content.len()).ok()?).to_le_bytes()
        && bytes[8..HEAD] == checksum((content.len() as u32).to_le_bytes(), content))
    .then_some(content)
}

fn checksum(length: [u8; 4], content: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&length).update(content);
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    first
}

/// Reads the whole records of a file in order, up to the length that it had when it was opened.
pub struct RecordReader {
    file: File,
    /// Where the next record is looked for.
    position: u64,
    end: u64,
    /// Bytes that were passed over before the last whole record.
    damaged: u64,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    buffered_from: u64,
}

impl RecordReader {
    /// Opens a file. `from` is a byte at which a record begins; 0 always does.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn open(path: &Path, from: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let end = file.metadata()?.len();
        Ok(Self {
            file,
            position: from,
            end,
            damaged: 0,
            buffer: Vec::new(),
            buffered_from: 0,
        })
    }

    /// The next whole record, with the byte at which it begins. None at the end, where a torn or damaged piece may be
    /// left ([`rest`](Self::rest)).
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read_next(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        match self.find_next() {
            // A writer has taken back what it could not write whole.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            outcome => outcome,
        }
    }

    fn find_next(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut place = self.position;
        while let Some(found) = self.mark_from(place)? {
            if let Some(content) = self.content_at(found)? {
                self.damaged += found - self.position;
                self.position = found + (HEAD + content.len()) as u64;
                return Ok(Some((found, content)));
            }
            place = found + 1;
        }
        Ok(None)
    }

    /// Where the record after the last one that was read would begin.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes between the records that were read belong to none.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// How many bytes follow the last whole record, once all were read: a torn end, or one that is being written.
    pub fn rest(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// The next place at which the mark stands, from a place on.
    fn mark_from(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut place = from;
        while place + HEAD as u64 <= self.end {
            let length = CHUNK.min((self.end - place) as usize);
            let bytes = self.bytes(place, length)?;
            if let Some(offset) = bytes.windows(MARK.len()).position(|window| window == MARK) {
                return Ok(Some(place + offset as u64));
            }
            // The mark may begin in the last bytes.
            place += (length - (MARK.len() - 1)) as u64;
        }
        Ok(None)
    }

    /// The content of the record at a place, if it is whole.
    fn content_at(&mut self, place: u64) -> io::Result<Option<Vec<u8>>> {
        let left = self.end - place;
        if left < HEAD as u64 {
            return Ok(None);
        }
        let head = self.bytes(place, HEAD)?;
        let mut length = [0; 4];
        length.copy_from_slice(&head[4..8]);
        let size = u32::from_le_bytes(length) as usize;
        if size > LONGEST || (HEAD + size) as u64 > left {
            return Ok(None);
        }
        let record = self.bytes(place, HEAD + size)?;
        let content = &record[HEAD..];
        Ok((checksum(length, content) == record[8..HEAD]).then(|| content.to_vec()))
    }

    /// These bytes, which lie before the end.
    fn bytes(&mut self, place: u64, length: usize) -> io::Result<&[u8]> {
        let behind = place + length as u64;
        let buffered = self.buffered_from..=self.buffered_from + self.buffer.len() as u64;
        if !buffered.contains(&place) || !buffered.contains(&behind) {
            let size = length.max(CHUNK.min((self.end - place) as usize));
            self.buffer.resize(size, 0);
            self.file.read_exact_at(&mut self.buffer, place)?;
            self.buffered_from = place;
        }
        let start = (place - self.buffered_from) as usize;
        Ok(&self.buffer[start..start + length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(path: &Path) -> (Vec<Vec<u8>>, u64, u64) {
        let mut reader = RecordReader::open(path, 0).unwrap();
        let mut found = Vec::new();
        while let Some((_, content)) = reader.read_next().unwrap() {
            found.push(content);
        }
        (found, reader.damaged(), reader.rest())
    }

    /// Records of many sizes, one of them longer than what is read at a time.
    fn many() -> Vec<Vec<u8>> {
        (0..40_usize)
            .map(|index| vec![index as u8; [0, 1, 15, 300, 70_000][index % 5]])
            .collect()
    }

    fn written(records: &[Vec<u8>]) -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records");
        let bytes: Vec<u8> = records.iter().flat_map(|content| record(content).unwrap()).collect();
        std::fs::write(&path, &bytes).unwrap();
        (directory, path, bytes)
    }

    #[test]
    fn what_is_written_is_read() {
        let records = many();
        let (_directory, path, _) = written(&records);
        assert_eq!(contents(&path), (records, 0, 0));
    }

    #[test]
    fn one_damaged_byte_costs_one_record() {
        let records = many();
        let (_directory, path, whole) = written(&records);
        let mut begins = 0;
        for (index, content) in records.iter().enumerate() {
            let length = HEAD + content.len();
            for offset in [0, 3, 5, 7, 9, length / 2, length - 1] {
                let mut bytes = whole.clone();
                bytes[begins + offset] ^= 0x10;
                std::fs::write(&path, &bytes).unwrap();
                let (mut found, damaged, rest) = contents(&path);
                assert_eq!(damaged + rest, length as u64, "record {index}, byte {offset}");
                found.insert(index, content.clone());
                assert_eq!(found, records, "record {index}, byte {offset}");
            }
            begins += length;
        }
    }

    #[test]
    fn a_torn_record_costs_itself_and_what_is_appended_behind_it_is_read() {
        let records = many();
        let (_directory, path, whole) = written(&records);
        let last = HEAD + records[39].len();
        for kept in [1, 4, HEAD, last - 1] {
            let torn = whole.len() - last + kept;
            std::fs::write(&path, &whole[..torn]).unwrap();
            let (found, damaged, rest) = contents(&path);
            assert_eq!((found.len(), damaged, rest), (39, 0, kept as u64));
            let next = record(b"next").unwrap();
            std::fs::write(&path, [&whole[..torn], &next].concat()).unwrap();
            let (found, damaged, rest) = contents(&path);
            assert_eq!((found.len(), damaged, rest), (40, kept as u64, 0));
            assert_eq!(found[39], b"next");
        }
    }

    #[test]
    fn content_that_looks_like_a_record_is_none() {
        let inner = record(b"inner").unwrap();
        let records = vec![inner.clone(), [&inner[..], &inner[..]].concat()];
        let (_directory, path, whole) = written(&records);
        assert_eq!(contents(&path), (records, 0, 0));
        assert_eq!(only_record(&inner), Some(&b"inner"[..]));
        assert_eq!(only_record(&whole), None);
        assert_eq!(only_record(&inner[..inner.len() - 1]), None);
        assert_eq!(only_record(b""), None);
    }

    #[test]
    fn garbage_is_passed_over() {
        let (_directory, path, whole) = written(&many());
        let zeros = vec![0; 200_000];
        let marks = MARK.repeat(50_000);
        for garbage in [&zeros, &marks] {
            let bytes = [garbage, &whole[..], garbage].concat();
            std::fs::write(&path, &bytes).unwrap();
            let (found, damaged, rest) = contents(&path);
            assert_eq!(
                (found, damaged, rest),
                (many(), garbage.len() as u64, garbage.len() as u64)
            );
        }
    }
}
