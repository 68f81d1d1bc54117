//! Rows of JSON: one value a line, or one array of values. They are read one by one; none is held.

use std::cell::RefCell;
use std::fmt;
use std::io::{BufRead, Read};

use serde::Deserializer as _;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::item::{Fault, Item, Place, Take};
use super::stream::TextReader;

/// Gives the text of every row to `take`, until it has enough.
pub(super) fn each_row(text: TextReader, take: Take<'_>) -> Result<(), Fault> {
    let TextReader { mut reader, allowance } = text;
    let mut line = 1;
    let first = loop {
        let bytes = reader
            .fill_buf()
            .map_err(|error| unreadable(Place::Line(line), &error))?;
        let blank = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        line += bytes[..blank].iter().filter(|byte| **byte == b'\n').count() as u64;
        let first = bytes.get(blank).copied();
        if bytes.is_empty() || first.is_some() {
            reader.consume(blank);
            break first;
        }
        reader.consume(blank);
        allowance.renew();
    };
    let renew = || allowance.renew();
    match first {
        None => Ok(()),
        Some(b'[') => each_item(reader, &renew, take),
        Some(_) => each_line(reader, line, &renew, take),
    }
}

fn each_line(mut reader: impl BufRead, mut line: u64, renew: &dyn Fn(), take: Take<'_>) -> Result<(), Fault> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let place = Place::Line(line);
        let read = reader
            .read_until(b'\n', &mut bytes)
            .map_err(|error| unreadable(place, &error))?;
        if read == 0 {
            return Ok(());
        }
        renew();
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let at = error.valid_up_to();
            let what = format!(
                "byte {} is 0x{:02X}, which is no UTF-8; if the file is in Latin-1 or another encoding, write it as UTF-8",
                at + 1,
                bytes[at]
            );
            Fault { place, what }
        })?;
        // Files that were put one behind the other each bring their byte order mark.
        let text = text.trim().trim_start_matches('\u{feff}').trim_start();
        if !text.is_empty() && !take(place, Item::Json(text)).map_err(|what| Fault { place, what })? {
            return Ok(());
        }
        line += 1;
    }
}

/// What stopped the reading of an array before its end.
enum Stop {
    Enough,
    Fault(Fault),
}

struct Items<'a, 'b> {
    renew: &'a dyn Fn(),
    take: Take<'b>,
    number: &'a RefCell<u64>,
    stop: &'a RefCell<Option<Stop>>,
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<Box<RawValue>>()? {
            (self.renew)();
            let place = Place::Row(*self.number.borrow());
            let stop = match (self.take)(place, Item::Json(item.get())) {
                Ok(true) => None,
                Ok(false) => Some(Stop::Enough),
                Err(what) => Some(Stop::Fault(Fault { place, what })),
            };
            if stop.is_some() {
                *self.stop.borrow_mut() = stop;
                return Err(A::Error::custom("stopped"));
            }
            *self.number.borrow_mut() += 1;
        }
        Ok(())
    }
}

fn each_item(reader: impl Read, renew: &dyn Fn(), take: Take<'_>) -> Result<(), Fault> {
    let (number, stop) = (RefCell::new(0), RefCell::new(None));
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let items = Items {
        renew,
        take,
        number: &number,
        stop: &stop,
    };
    let outcome = deserializer.deserialize_seq(items).and_then(|()| deserializer.end());
    match (stop.into_inner(), outcome) {
        (Some(Stop::Enough), _) => Ok(()),
        (Some(Stop::Fault(fault)), _) => Err(fault),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => {
            let place = Place::Row(number.into_inner());
            let hint = if error.to_string().contains("unicode code point") {
                "; the file must be UTF-8"
            } else {
                ""
            };
            let what = match error.is_io() {
                true => format!("it cannot be read ({error})"),
                false => format!("the array is no JSON there ({error}{hint})"),
            };
            Err(Fault { place, what })
        }
    }
}

fn unreadable(place: Place, error: &std::io::Error) -> Fault {
    let what = format!("it cannot be read ({error})");
    Fault { place, what }
}
