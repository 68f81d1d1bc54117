//! Today's date as a template asks for it: Python's `strftime` in the C locale, in UTC.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::{Error, ErrorKind};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// From Sunday, because C counts the days of a week from there.
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// The function that chat templates call.
#[expect(clippy::disallowed_methods, reason = "a template asks for today's date itself")]
pub(super) fn strftime_now(format: String) -> Result<String, Error> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs());
    strftime(&format, now)
}

/// A moment by the calendar, in UTC.
struct Moment {
    year: u64,
    month: u64,
    day: u64,
    /// From 1.
    day_of_year: u64,
    /// 0 is Sunday.
    weekday: u64,
    hour: u64,
    minute: u64,
    second: u64,
    unix_seconds: u64,
}

impl Moment {
    fn at(unix_seconds: u64) -> Self {
        let days = unix_seconds / 86_400;
        let (year, month, day) = civil_date(days);
        let first_of_january = days_since_1970(year);
        Self {
            year,
            month,
            day,
            day_of_year: days - first_of_january + 1,
            // 1 January 1970 was a Thursday.
            weekday: (days + 4) % 7,
            hour: unix_seconds / 3600 % 24,
            minute: unix_seconds / 60 % 60,
            second: unix_seconds % 60,
            unix_seconds,
        }
    }

    fn hour_of_12(&self) -> u64 {
        (self.hour + 11) % 12 + 1
    }

    /// The number that a letter stands for, its least width, and the character that pads it.
    fn number(&self, letter: char) -> Option<(u64, usize, char)> {
        Some(match letter {
            'Y' => (self.year, 1, '0'),
            'C' => (self.year / 100, 2, '0'),
            'y' => (self.year % 100, 2, '0'),
            'm' => (self.month, 2, '0'),
            'd' => (self.day, 2, '0'),
            'e' => (self.day, 2, ' '),
            'j' => (self.day_of_year, 3, '0'),
            'H' => (self.hour, 2, '0'),
            'k' => (self.hour, 2, ' '),
            'I' => (self.hour_of_12(), 2, '0'),
            'l' => (self.hour_of_12(), 2, ' '),
            'M' => (self.minute, 2, '0'),
            'S' => (self.second, 2, '0'),
            'w' => (self.weekday, 1, '0'),
            'u' => ((self.weekday + 6) % 7 + 1, 1, '0'),
            'U' => ((self.day_of_year + 6 - self.weekday) / 7, 2, '0'),
            'W' => ((self.day_of_year + 6 - (self.weekday + 6) % 7) / 7, 2, '0'),
            's' => (self.unix_seconds, 1, '0'),
            _ => return None,
        })
    }

    fn word(&self, letter: char) -> Option<&'static str> {
        let month = MONTHS[self.month as usize - 1];
        let weekday = WEEKDAYS[self.weekday as usize];
        Some(match letter {
            'B' => month,
            'b' | 'h' => &month[..3],
            'A' => weekday,
            'a' => &weekday[..3],
            'p' => ["AM", "PM"][usize::from(self.hour >= 12)],
            'f' => "000000",
            'n' => "\n",
            't' => "\t",
            '%' => "%",
            // A time without a zone, as transformers takes it, has neither name nor offset.
            'Z' | 'z' => "",
            _ => return None,
        })
    }
}

/// The format that a letter is short for.
fn spelled_out(letter: char) -> Option<&'static str> {
    Some(match letter {
        'F' => "%Y-%m-%d",
        'D' | 'x' => "%m/%d/%y",
        'T' | 'X' => "%H:%M:%S",
        'R' => "%H:%M",
        'r' => "%I:%M:%S %p",
        'c' => "%a %b %e %H:%M:%S %Y",
        _ => return None,
    })
}

fn strftime(format: &str, unix_seconds: u64) -> Result<String, Error> {
    let moment = Moment::at(unix_seconds);
    let mut text = String::new();
    write(&mut text, format, &moment)?;
    Ok(text)
}

fn write(text: &mut String, format: &str, moment: &Moment) -> Result<(), Error> {
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let mut letter = letters.next();
        // GNU's flags: no padding, blanks, zeros.
        let mut flag = None;
        if let Some(found @ ('-' | '_' | '0')) = letter {
            flag = Some(found);
            letter = letters.next();
        }
        let letter = letter.ok_or_else(|| unknown(""))?;
        if let Some((number, width, fill)) = moment.number(letter) {
            // Writing to a string cannot fail.
            let _ = match flag {
                Some('-') => write!(text, "{number}"),
                Some('_') => write!(text, "{number:width$}"),
                Some(_) => write!(text, "{number:0width$}"),
                None if fill == '0' => write!(text, "{number:0width$}"),
                None => write!(text, "{number:width$}"),
            };
        } else if let Some(word) = moment.word(letter) {
            text.push_str(word);
        } else if let Some(parts) = spelled_out(letter) {
            write(text, parts, moment)?;
        } else {
            return Err(unknown(&letter.to_string()));
        }
    }
    Ok(())
}

fn unknown(letter: &str) -> Error {
    let message = format!("strftime_now does not know %{letter}");
    Error::new(ErrorKind::InvalidOperation, message)
}

/// Year, month and day of the Gregorian calendar, `days` after 1 January 1970.
fn civil_date(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that the leap day is the last of its year; 719,468 days lie between
    // 1 March of year 0 and 1970.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Days from 1970 to the first of January of a year.
fn days_since_1970(year: u64) -> u64 {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let cases = [
            ("%d %B %Y, %A %H:%M:%S", 0, "01 January 1970, Thursday 00:00:00"),
            ("%a %d %b %y %%", 951_782_400, "Tue 29 Feb 00 %"),
            ("%Y-%m-%d %A", 1_735_689_599, "2024-12-31 Tuesday"),
            // The rest by Python: datetime.fromtimestamp(…, UTC).strftime(…).
            (
                "%F|%e|%-d|%j|%I|%p|%-I|%-m",
                1_709_510_405,
                "2024-03-04| 4|4|064|12|AM|12|3",
            ),
            (
                "%T|%D|%R|%c",
                1_709_568_005,
                "16:00:05|03/04/24|16:00|Mon Mar  4 16:00:05 2024",
            ),
            ("%U|%W|%w|%u|%C|%h|%r", 1_735_603_200, "52|53|2|2|20|Dec|12:00:00 AM"),
            (
                "%_d|%0e|%k|%l|%s|%Z%z|%f",
                1_709_510_405,
                " 4|04| 0|12|1709510405||000000",
            ),
        ];
        for (format, at, expected) in cases {
            assert_eq!(strftime(format, at).unwrap(), expected, "{format}");
        }
        for format in ["%Q", "%", "%-", "100%"] {
            assert!(strftime(format, 0).is_err(), "{format}");
        }
    }
}
