//! The rule at the end of a zone file: which offset from UTC holds after the last transition that
//! the file lists (POSIX `TZ`, with the extensions of RFC 9636).
//!
//! Must not know where the rule comes from.

const DAY: i64 = 86_400;

/// What holds at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LocalTime<'a> {
    /// The zone's abbreviation, such as `CET`.
    pub(super) name: &'a str,
    /// Seconds that local time is ahead of UTC.
    pub(super) offset: i32,
}

/// Standard time, and summer time if the zone has it, every year anew.
#[derive(Debug, PartialEq)]
pub(super) struct Yearly {
    standard: (String, i32),
    summer: Option<Summer>,
}

#[derive(Debug, PartialEq)]
struct Summer {
    name: String,
    offset: i32,
    from: Change,
    until: Change,
}

/// When in a year the clock is put forward or back.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Change {
    day: Day,
    /// Seconds after midnight, in the time that holds until then. May be negative.
    time: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Day {
    /// A weekday (0: Sunday) in the week (1 to 5, 5: the last) of a month (1 to 12).
    OfMonth { month: i64, week: i64, weekday: i64 },
    /// A day of the year from 0, leap day counted.
    OfYear(i64),
    /// A day of the year from 1, leap day never counted.
    Julian(i64),
}

impl Yearly {
    /// Reads a rule such as `CET-1CEST,M3.5.0,M10.5.0/3`.
    pub(super) fn parse(rule: &str) -> Option<Self> {
        let (clocks, changes) = rule.split_once(',').unwrap_or((rule, ""));
        let (name, rest) = name(clocks)?;
        let (offset, rest) = offset(rest)?;
        let standard = (name.to_owned(), -offset);
        if rest.is_empty() {
            return Some(Self { standard, summer: None });
        }
        let (name, rest) = self::name(rest)?;
        let ahead = match rest {
            "" => 3600 - offset,
            rest => -self::offset(rest).filter(|(_, rest)| rest.is_empty())?.0,
        };
        let (from, until) = changes.split_once(',')?;
        let (from, until) = (Change::parse(from)?, Change::parse(until)?);
        let summer = Some(Summer { name: name.to_owned(), offset: ahead, from, until });
        Some(Self { standard, summer })
    }

    /// What holds at `time` (Unix time).
    pub(super) fn at(&self, time: i64) -> LocalTime<'_> {
        let (name, offset) = &self.standard;
        let standard = LocalTime { name, offset: *offset };
        let Some(summer) = &self.summer else { return standard };
        let year = year(time.saturating_add(i64::from(*offset)));
        let from = summer.from.in_year(year) - i64::from(*offset);
        let until = summer.until.in_year(year) - i64::from(summer.offset);
        // South of the equator summer begins late in a year and ends early in the next.
        let is_summer = if from < until {
            (from..until).contains(&time)
        } else {
            !(until..from).contains(&time)
        };
        if is_summer { LocalTime { name: &summer.name, offset: summer.offset } } else { standard }
    }
}

/// Letters, or anything between angle brackets.
fn name(text: &str) -> Option<(&str, &str)> {
    if let Some(text) = text.strip_prefix('<') {
        return text.split_once('>');
    }
    let end = text.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(name, _)| name.len() >= 3)
}

/// `[+-]hh[:mm[:ss]]`, in seconds.
fn offset(text: &str) -> Option<(i32, &str)> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(digits.len());
    let (number, rest) = digits.split_at_checked(end)?;
    let mut seconds = 0;
    for (part, unit) in number.split(':').zip([3600, 60, 1]) {
        let part: i32 = part.parse().ok().filter(|part| *part <= 167)?;
        seconds += part * unit;
    }
    Some((sign * seconds, rest))
}

impl Change {
    /// Reads `M3.5.0`, `J60` or `59`, with `/time` after it unless that is two o'clock.
    fn parse(text: &str) -> Option<Self> {
        let (day, time) = text.split_once('/').unwrap_or((text, "2"));
        let time = offset(time).filter(|(_, rest)| rest.is_empty())?.0;
        let day = if let Some(day) = day.strip_prefix('M') {
            let mut parts = day.split('.').map(|part| part.parse().ok());
            let (month, week, weekday) = (parts.next()??, parts.next()??, parts.next()??);
            let valid = (1..=12).contains(&month) && (1..=5).contains(&week);
            (valid && (0..=6).contains(&weekday)).then_some(Day::OfMonth {
                month,
                week,
                weekday,
            })?
        } else if let Some(day) = day.strip_prefix('J') {
            Day::Julian(day.parse().ok().filter(|day| (1..=365).contains(day))?)
        } else {
            Day::OfYear(day.parse().ok().filter(|day| (0..=365).contains(day))?)
        };
        Some(Self { day, time: i64::from(time) })
    }

    /// When it is in a year, as if local time were UTC.
    fn in_year(self, year: i64) -> i64 {
        let new_year = days_to(year, 1);
        let day = match self.day {
            Day::OfYear(day) => new_year + day,
            Day::Julian(day) => new_year + day - i64::from(day < 60 || !is_leap(year)),
            Day::OfMonth { month, week, weekday } => {
                let first = days_to(year, month);
                let length = days_to(year + month / 12, month % 12 + 1) - first;
                // The first day of 1970 was a Thursday.
                let first_match = (weekday - (first + 4)).rem_euclid(7);
                let wanted = first_match + 7 * (week - 1);
                first + if wanted < length { wanted } else { wanted - 7 }
            }
        };
        day * DAY + self.time
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days from the first of January 1970 to the first of a month.
pub(super) fn days_to(year: i64, month: i64) -> i64 {
    let before = year - 1;
    let leap_days = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let years = (year - 1970) * 365 + leap_days(before) - leap_days(1969);
    let lengths = [31, 28 + i64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months = usize::try_from(month - 1).unwrap_or_default();
    years + lengths.iter().take(months).sum::<i64>()
}

/// The year of a time.
fn year(time: i64) -> i64 {
    let days = time.div_euclid(DAY);
    // Close to it, and never late: a year is at most 366 days long.
    let mut year = 1970 + days.div_euclid(366);
    while days_to(year + 1, 1) <= days && year < 1_000_000 {
        year += 1;
    }
    year
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rule: &str, time: i64) -> (String, i32) {
        let rule = Yearly::parse(rule).unwrap();
        let local = rule.at(time);
        (local.name.to_owned(), local.offset)
    }

    #[test]
    fn north_and_south() {
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        // 2026-03-29 and 2026-10-25, both at 01:00 UTC.
        for (time, wanted) in [
            (1_774_745_999, ("CET", 3600)),
            (1_774_746_000, ("CEST", 7200)),
            (1_792_889_999, ("CEST", 7200)),
            (1_792_890_000, ("CET", 3600)),
        ] {
            assert_eq!(shown(berlin, time), (wanted.0.to_owned(), wanted.1));
        }
        // 2026-04-05 at 16:00 UTC of the day before, and 2026-10-04 likewise.
        let sydney = "AEST-10AEDT,M10.1.0,M4.1.0/3";
        for (time, wanted) in [
            (1_775_318_399, ("AEDT", 39600)),
            (1_775_318_400, ("AEST", 36000)),
            (1_791_043_199, ("AEST", 36000)),
            (1_791_043_200, ("AEDT", 39600)),
        ] {
            assert_eq!(shown(sydney, time), (wanted.0.to_owned(), wanted.1));
        }
    }

    #[test]
    fn other_forms() {
        assert_eq!(shown("UTC0", 0), ("UTC".to_owned(), 0));
        assert_eq!(shown("<-03>3", 0), ("-03".to_owned(), -10800));
        assert_eq!(shown("IST-5:30", 0), ("IST".to_owned(), 19800));
        assert_eq!(shown("AAA0BBB,J60/0,J61/0", 951_868_800), ("BBB".to_owned(), 3600));
        assert_eq!(shown("AAA0BBB,0/0,365/25", 0), ("BBB".to_owned(), 3600));
    }

    #[test]
    fn rubbish() {
        for rule in [
            "",
            "A",
            "AAA",
            "AAA1BBB",
            "AAA1BBB,",
            "AAA1BBB,M13.1.0,M1.1.0",
            "AAA999",
            "<x",
            "AAA1BBB2x,0,1",
            "AAA1BBB,M3.5,M1",
        ] {
            assert_eq!(Yearly::parse(rule), None, "{rule}");
        }
        let rule = Yearly::parse("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for time in [i64::MIN, i64::MAX, -1, 0] {
            let _ = rule.at(time);
        }
    }

    #[test]
    fn days() {
        assert_eq!(days_to(1970, 1), 0);
        assert_eq!(days_to(2000, 3), 11_017);
        assert_eq!(year(951_782_400), 2000);
        assert_eq!(year(-1), 1969);
    }
}
