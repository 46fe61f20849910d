//! The format of a segment: a header, then frames.
//!
//! | bytes | |
//! | --- | --- |
//! | 17 | the header: `tagtrail-spool 1` and a line feed |
//! | 4 | for each frame: the length of its payload, |
//! | 4 | the CRC-32 of the rest of the frame, |
//! | 8 | when the frame was written, in microseconds since 1970, |
//! | 4 | how many requests it has, |
//! | … | its payload |
//!
//! Numbers are unsigned and little-endian. Payloads are up to those who write them.

use std::io::{self, Read};

use flate2::Crc;

use crate::model::time::Timestamp;

pub(crate) const HEADER: &[u8] = b"tagtrail-spool 1\n";
const FRAME: usize = 20;
/// The maximum length of a payload, so that a damaged length does not allocate without bound.
pub(crate) const MAX_PAYLOAD: usize = 256 << 20;

/// Some records, which are written and read together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) time: Timestamp,
    pub(crate) requests: u32,
    pub(crate) payload: Vec<u8>,
}

/// Appends a frame to a buffer.
pub(crate) fn encode(frame: &Frame, to: &mut Vec<u8>) -> io::Result<()> {
    let length = u32::try_from(frame.payload.len()).ok().filter(|length| *length as usize <= MAX_PAYLOAD);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "the records are too long"))?;
    let time = frame.time.as_micros().to_le_bytes();
    let requests = frame.requests.to_le_bytes();
    to.reserve(FRAME + frame.payload.len());
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(&checksum(&[&time, &requests, &frame.payload]).to_le_bytes());
    to.extend_from_slice(&time);
    to.extend_from_slice(&requests);
    to.extend_from_slice(&frame.payload);
    Ok(())
}

/// Reads the next frame; `None` at the end of the segment. What is not a whole frame is `InvalidData`.
pub(crate) fn decode(from: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut head = [0; FRAME];
    match read_up_to(from, &mut head)? {
        0 => return Ok(None),
        FRAME => {}
        _ => return Err(damaged()),
    }
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, sum, requests) = (number(0) as usize, number(4), number(16));
    if length > MAX_PAYLOAD {
        return Err(damaged());
    }
    let mut payload = Vec::new();
    from.take(length as u64).read_to_end(&mut payload)?;
    if payload.len() != length || checksum(&[&head[8..], &payload]) != sum {
        return Err(damaged());
    }
    let mut time = [0; 8];
    time.copy_from_slice(&head[8..16]);
    Ok(Some(Frame { time: Timestamp::from_micros(i64::from_le_bytes(time)), requests, payload }))
}

/// How many bytes a frame takes.
pub(crate) fn length(frame: &Frame) -> u64 {
    (FRAME + frame.payload.len()) as u64
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut crc = Crc::new();
    for part in parts {
        crc.update(part);
    }
    crc.sum()
}

fn read_up_to(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match from.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the spool has a damaged part")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        let frame = (any::<i32>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..300)).prop_map(
            |(seconds, requests, payload)| Frame {
                time: Timestamp::from_micros(i64::from(seconds) * 1_000_000),
                requests,
                payload,
            },
        );
        prop::collection::vec(frame, 0..6)
    }

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written_up_to_where_they_are_cut(frames in frames(), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for frame in &frames {
                encode(frame, &mut bytes).unwrap();
                ends.push(bytes.len());
            }
            let cut = cut.index(bytes.len() + 1);
            let mut from = &bytes[..cut];
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            for frame in &frames[..whole] {
                let read = decode(&mut from).unwrap();
                prop_assert_eq!(read.as_ref(), Some(frame));
            }
            let is_torn = !ends.contains(&cut);
            prop_assert_eq!(decode(&mut from).is_err(), is_torn);
        }

        #[test]
        fn changed_byte_is_found(frames in frames(), at in any::<prop::sample::Index>(), change in 1_u8..) {
            let mut bytes = Vec::new();
            for frame in &frames {
                encode(frame, &mut bytes).unwrap();
            }
            prop_assume!(!bytes.is_empty());
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            let mut from = &bytes[..];
            let mut read = Vec::new();
            let end = loop {
                match decode(&mut from) {
                    Ok(Some(frame)) => read.push(frame),
                    end => break end,
                }
            };
            prop_assert!(end.is_err());
            prop_assert!(frames.starts_with(&read));
        }
    }
}
