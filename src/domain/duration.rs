//! Durations as people write them: `90s`, `15m`, `36h`, `7d`, or several in that order, largest unit first.
//!
//! Our own, because `kube::core::Duration` panics on what a schema pattern lets through, and neither Go's nor ISO's
//! notation has days as operators write them.

use std::fmt;

use jiff::SignedDuration;

/// A duration of whole seconds, never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(i64);

/// Units from the largest to the smallest, with their seconds.
const UNITS: [(char, i64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no duration; write days, hours, minutes and seconds, largest first, such as 14d, 36h or 1h30m")]
pub struct NotADuration;

impl Span {
    /// A duration of so many seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(if seconds < 0 { 0 } else { seconds })
    }

    /// A duration of so many days.
    pub const fn from_days(days: i64) -> Self {
        Self::from_secs(days.saturating_mul(86_400))
    }

    /// Its length in seconds.
    pub const fn as_secs(self) -> i64 {
        self.0
    }

    /// The same for arithmetic with timestamps.
    pub const fn signed(self) -> SignedDuration {
        SignedDuration::from_secs(self.0)
    }
}

impl std::str::FromStr for Span {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let (mut total, mut rest, mut units) = (0_i64, text, UNITS.as_slice());
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let mut tail = tail.chars();
            let unit = tail.next().ok_or(NotADuration)?;
            let place = units.iter().position(|(letter, _)| *letter == unit).ok_or(NotADuration)?;
            let number: i64 = number.parse().map_err(|_| NotADuration)?;
            total = number.checked_mul(units[place].1).and_then(|n| total.checked_add(n)).ok_or(NotADuration)?;
            (rest, units) = (tail.as_str(), &units[place + 1..]);
        }
        if text.is_empty() || total > Self::from_days(36_525).0 { Err(NotADuration) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for Span {
    /// In the fewest units: `1d12h`, and `0s` for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (letter, seconds) in UNITS {
            if rest / seconds > 0 {
                write!(f, "{}{letter}", rest / seconds)?;
            }
            rest %= seconds;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let table = [
            ("90s", 90),
            ("15m", 900),
            ("36h", 129_600),
            ("7d", 604_800),
            ("1h30m", 5_400),
            ("1d12h", 129_600),
            ("0s", 0),
        ];
        for (text, seconds) in table {
            assert_eq!(text.parse::<Span>().map(Span::as_secs), Ok(seconds), "{text}");
        }
        for text in
            ["", "s", "1", "1x", "-1h", "1h-1h", "1m1h", "1h1h", "1.5h", "99999999999999999999d", "9999999999d", "１h"]
        {
            assert_eq!(text.parse::<Span>(), Err(NotADuration), "{text}");
        }
    }

    #[test]
    fn is_neither_negative_nor_longer_than_a_century() {
        assert_eq!((Span::from_secs(-1), Span::from_secs(1).as_secs()), (Span::from_secs(0), 1));
        assert_eq!("36525d".parse(), Ok(Span::from_days(36_525)));
        assert_eq!("36525d1s".parse::<Span>(), Err(NotADuration));
    }

    #[test]
    fn shows_the_fewest_units() {
        for (seconds, text) in [(0, "0s"), (90, "1m30s"), (3_600, "1h"), (129_600, "1d12h"), (2_592_000, "30d")] {
            assert_eq!(Span::from_secs(seconds).to_string(), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<Span>();
        }

        #[test]
        fn what_the_schema_lets_through_is_read_or_refused(text in "([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?") {
            if let Ok(span) = text.parse::<Span>() {
                proptest::prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
            }
        }
    }
}
