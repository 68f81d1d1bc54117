//! The codec of every service. It measures a message before it decodes it: a few bytes on the wire can become many in
//! memory (an empty trace takes two bytes there and a hundred here), so that a limit on the size of the message alone
//! bounds no memory.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::LazyLock;

use prost::bytes::Buf as _;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::limits::MAX_DECODED_BYTES;
use crate::{ErrorReason, FILE_DESCRIPTORS, Refusal};

/// Prost's codec with a bound on the memory that a message takes once it is decoded ([`MAX_DECODED_BYTES`]).
#[derive(Debug)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = BoundedDecoder<T, U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(ProstCodec::<T, U>::default().decoder())
    }
}

/// The decoder of [`BoundedCodec`].
pub struct BoundedDecoder<T, U>(<ProstCodec<T, U> as Codec>::Decoder)
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static;

impl<T, U> Decoder for BoundedDecoder<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        check_decoded_bytes::<U>(buffer.chunk())?;
        self.0.decode(buffer)
    }
}

/// Refuses a message that would take too much memory once it is decoded. The codec does so with every message. Code
/// that decodes a message which came as bytes inside another one has to call this first.
///
/// # Errors
/// `RESOURCE_EXHAUSTED`, with the size.
pub fn check_decoded_bytes<M: Name>(wire: &[u8]) -> Result<(), Status> {
    let bytes = decoded_bytes(&M::full_name(), wire);
    if bytes <= MAX_DECODED_BYTES {
        return Ok(());
    }
    let mib = 1024 * 1024;
    let message = format!(
        "the {} would take {} MiB of memory; at most {} are allowed",
        M::NAME,
        bytes.div_ceil(mib),
        MAX_DECODED_BYTES / mib,
    );
    Err(Refusal::new(Code::ResourceExhausted, ErrorReason::MessageTooLarge, message).into_status())
}

/// How many bytes of memory a message takes once it is decoded, at most: a sum over its parts, without the spare
/// capacity of lists. Nothing is allocated to find it. Bytes that are not a valid message count up to the first error,
/// because decoding stops there too. A message of an unknown type counts as its bytes.
pub fn decoded_bytes(message: &str, wire: &[u8]) -> usize {
    match SHAPES.get(message) {
        Some(shape) => shape.bytes + contents_bytes(shape, wire),
        None => wire.len(),
    }
}

/// What the fields of one message are in memory.
struct Shape {
    /// Bytes of the message itself, without the contents of its lists and texts.
    bytes: usize,
    fields: HashMap<u32, Part>,
}

/// What one occurrence of a field adds.
enum Part {
    /// A text or bytes.
    Text,
    /// A number. Where it is one of a list, several may stand in one piece of the wire.
    Number { bytes: usize, is_varint: bool },
    /// A message.
    Message(String),
}

/// The head of a list, text or map.
const LIST_BYTES: usize = 24;

static SHAPES: LazyLock<HashMap<String, Shape>> = LazyLock::new(|| {
    // The descriptors are compiled in, and a test reads them.
    let pool = DescriptorPool::decode(FILE_DESCRIPTORS).unwrap_or_default();
    let shape_of = |message: MessageDescriptor| {
        let fields = message.fields().map(|field| (field.number(), part_of(&field)));
        let shape = Shape {
            bytes: own_bytes(&message, 0),
            fields: fields.collect(),
        };
        (message.full_name().to_owned(), shape)
    };
    pool.all_messages().map(shape_of).collect()
});

fn part_of(field: &FieldDescriptor) -> Part {
    let number = |bytes, is_varint| Part::Number { bytes, is_varint };
    match field.kind() {
        Kind::Message(inner) => Part::Message(inner.full_name().to_owned()),
        Kind::String | Kind::Bytes => Part::Text,
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => number(8, false),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => number(4, false),
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 => number(8, true),
        Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Enum(_) => number(4, true),
        Kind::Bool => number(1, true),
    }
}

/// At least the size of the structure that prost makes of a message. A message that holds one of its own kind holds it
/// in a box.
fn own_bytes(message: &MessageDescriptor, depth: usize) -> usize {
    let of_field = |field: FieldDescriptor| match field.kind() {
        _ if field.is_list() || field.is_map() => LIST_BYTES,
        Kind::String | Kind::Bytes => LIST_BYTES + 8,
        Kind::Message(inner) if depth < 8 => 8 + own_bytes(&inner, depth + 1),
        _ => 16,
    };
    // A message without fields takes none, but its place in a list of choices does.
    8 + message.fields().map(of_field).sum::<usize>()
}

fn contents_bytes(shape: &Shape, mut wire: &[u8]) -> usize {
    let mut total = 0_usize;
    while !wire.is_empty() {
        let Ok((field, wire_type)) = decode_key(&mut wire) else {
            break;
        };
        let part = shape.fields.get(&field);
        match wire_type {
            WireType::Varint if decode_varint(&mut wire).is_ok() => {}
            WireType::ThirtyTwoBit if wire.len() >= 4 => wire.advance(4),
            WireType::SixtyFourBit if wire.len() >= 8 => wire.advance(8),
            WireType::LengthDelimited => {
                let Some(piece) = piece_of(&mut wire) else { break };
                total = total.saturating_add(piece_bytes(part, piece));
                continue;
            }
            _ => break,
        }
        // One number, of a list or by itself.
        if let Some(Part::Number { bytes, .. }) = part {
            total = total.saturating_add(*bytes);
        }
    }
    total
}

/// Splits off a piece whose length stands before it.
fn piece_of<'a>(wire: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(wire).ok()?).ok()?;
    let (piece, rest) = wire.split_at_checked(length)?;
    *wire = rest;
    Some(piece)
}

fn piece_bytes(part: Option<&Part>, piece: &[u8]) -> usize {
    match part {
        // An unknown field, which decoding skips.
        None => 0,
        // A list of texts holds their heads as well.
        Some(Part::Text) => LIST_BYTES + piece.len(),
        // The last byte of each varint is below 128.
        Some(Part::Number { bytes, is_varint: true }) => bytes * piece.iter().filter(|byte| **byte < 0x80).count(),
        Some(Part::Number {
            bytes,
            is_varint: false,
        }) => bytes * piece.len().div_ceil(*bytes),
        Some(Part::Message(inner)) => decoded_bytes(inner, piece),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    fn measured<M: Message + Name>(message: &M) -> usize {
        decoded_bytes(&M::full_name(), &message.encode_to_vec())
    }

    #[test]
    fn no_structure_is_larger_than_it_is_measured() {
        // The parts that a sender can repeat, and what holds them.
        fn check<M: Message + Name + Default>() {
            let measured = decoded_bytes(&M::full_name(), &[]);
            let real = size_of::<M>();
            assert!(measured >= real, "{} takes {real}, measured as {measured}", M::NAME);
        }
        check::<v1::Trace>();
        check::<v1::Node>();
        check::<v1::Summary>();
        check::<v1::Generated>();
        check::<v1::UsedWeights>();
        check::<v1::ScoredGroup>();
        check::<v1::PushRequest>();
        check::<v1::LeaseRequest>();
        check::<v1::VerifyRequest>();
        check::<v1::VerifyItem>();
        check::<v1::JobSpec>();
        check::<v1::SubmitJobRequest>();
    }

    #[test]
    fn empty_parts_are_measured_by_what_they_become() {
        let group = v1::ScoredGroup {
            traces: vec![v1::Trace::default(); 100_000],
            ..Default::default()
        };
        let wire = group.encoded_len();
        assert!(
            measured(&group) >= 100_000 * size_of::<v1::Trace>(),
            "{}",
            measured(&group)
        );
        assert!(measured(&group) > 30 * wire, "{} of {wire}", measured(&group));
        let lease = v1::LeaseRequest {
            held_group_ids: vec![String::new(); 1000],
            ..Default::default()
        };
        assert!(measured(&lease) >= 24_000);
    }

    #[test]
    fn numbers_count_one_by_one() {
        let generated = v1::Generated {
            ids: vec![1, 1 << 10, 1 << 30],
            log_probs: vec![-1.0; 3],
            versions: vec![0, 5, 1 << 40],
            ..Default::default()
        };
        let empty = measured(&v1::Generated::default());
        assert_eq!(measured(&generated) - empty, 3 * (4 + 4 + 8));
    }

    #[test]
    fn what_is_no_message_is_measured_without_harm() {
        let name = v1::PushRequest::full_name();
        for wire in [
            &[0x0a_u8][..],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x0b, 1],
            &[0xff; 40],
        ] {
            assert!(decoded_bytes(&name, wire) < 4096);
        }
        assert_eq!(decoded_bytes("anytime.v1.Nothing", &[1, 2, 3]), 3);
    }
}
