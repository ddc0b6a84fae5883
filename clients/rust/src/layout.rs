//! Where everything lies in a ledger, as `docs/ledger.md` specifies it. The daemon reads by these
//! definitions and the [writer](crate::Agent) writes by them.
//!
//! Must not know how the memory is mapped or who holds it.

/// First bytes of every ledger.
pub const MAGIC: [u8; 8] = *b"MUSTERDL";
/// Version of the layout and of the handshake.
pub const VERSION: u32 = 1;

/// Bytes of the header.
pub const HEADER_SIZE: usize = 512;
/// Requests in flight that are tracked one by one.
pub const SLOT_COUNT: usize = 128;
/// Offset of the first slot.
pub const SLOTS: usize = HEADER_SIZE;
/// Offset of the first record.
pub const RECORDS: usize = SLOTS + 8 * SLOT_COUNT;

/// Header words, by offset.
pub mod header {
    /// The magic, as a word.
    pub const MAGIC: usize = 0;
    /// `version` in the low half, `header_size` in the high half.
    pub const VERSION_AND_SIZE: usize = 8;
    /// Bytes of the whole file.
    pub const SIZE: usize = 16;
    /// Two words that no other ledger has.
    pub const IDENTITY: usize = 24;
    /// `slots_offset` in the low half, `slot_count` in the high half.
    pub const SLOTS: usize = 40;
    /// `records_offset` in the low half.
    pub const RECORDS: usize = 48;
    /// 1 once the daemon has taken the counts over for good.
    pub const RETIRED: usize = 64;
    /// How often the agent has promised to show life, in nanoseconds; 0 is never.
    pub const PROMISE: usize = 72;
    /// First byte after the last published record.
    pub const RECORDS_END: usize = 128;
    /// When the agent last showed life.
    pub const HEARTBEAT: usize = 136;
    /// 1 once the agent has ended the ledger on purpose.
    pub const CLOSED: usize = 144;
    /// Requests begun while no slot was free.
    pub const UNSLOTTED_BEGUN: usize = 152;
    /// Of those, how many have ended.
    pub const UNSLOTTED_ENDED: usize = 160;
    /// Series that found no room.
    pub const RECORDS_REFUSED: usize = 168;
    /// In a ledger that the daemon writes for a program that sends lines: the number of the last line that
    /// is in it.
    pub const APPLIED: usize = 176;
    /// Number of pairs in the journal; the pairs lie below it.
    pub const JOURNAL_COUNT: usize = 496;
}

/// Most words that one update may change.
pub const JOURNAL_LIMIT: usize = 16;

/// Offset of journal pair `index`: the word's offset, then its new value.
#[must_use]
pub const fn journal_pair(index: usize) -> usize {
    header::JOURNAL_COUNT - 16 * (index + 1)
}

/// Bytes of a record before its bounds and strings.
pub const RECORD_HEAD: usize = 40;

/// Most bytes of a metric name.
pub const NAME_LIMIT: usize = 128;
/// Most bytes of a help text.
pub const HELP_LIMIT: usize = 256;
/// Most bytes of a unit.
pub const UNIT_LIMIT: usize = 32;
/// Most labels of a record.
pub const LABEL_LIMIT: usize = 8;
/// Most bytes of a label name.
pub const LABEL_NAME_LIMIT: usize = 64;
/// Most bytes of a label value.
pub const LABEL_VALUE_LIMIT: usize = 256;
/// Most exponential buckets of a histogram.
pub const NATIVE_LIMIT: usize = 4096;
/// Most classic bounds of a histogram.
pub const CLASSIC_LIMIT: usize = 64;

/// What a record's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// One u64 that only grows.
    Counter = 1,
    /// One f64.
    Gauge = 2,
    /// Sum, zero bucket, exponential buckets, classic buckets.
    Histogram = 3,
    /// One f64 that only grows.
    FractionCounter = 4,
}

impl Kind {
    /// The kind that a record's byte names.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Counter),
            2 => Some(Self::Gauge),
            3 => Some(Self::Histogram),
            4 => Some(Self::FractionCounter),
            _ => None,
        }
    }
}

/// The buckets of a histogram record.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Resolution of the exponential buckets, -4 to 8.
    pub schema: i32,
    /// Index of the first exponential bucket.
    pub first: i32,
    /// Number of exponential buckets.
    pub native_count: u32,
    /// Observations from 0 to here fall into the zero bucket.
    pub zero_threshold: f64,
    /// Upper bounds of the classic buckets, rising.
    pub bounds: Vec<f64>,
}

/// The usual resolution of durations of requests.
pub const DURATION_SCHEMA: i32 = 3;
/// The resolutions that a daemon may ask for.
pub const DURATION_SCHEMAS: std::ops::RangeInclusive<i32> = 0..=5;

/// Classic bounds of `agent_request_duration_seconds`, in seconds.
pub const DURATION_BOUNDS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Classic bounds of calls of models and tools, in seconds: those of the OpenTelemetry conventions for
/// generative AI.
pub const CALL_BOUNDS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

impl Shape {
    /// The usual shape of durations: 1 µs to 4.5 h in buckets that are 9 % wide.
    #[must_use]
    pub fn durations() -> Self {
        Self::durations_at(DURATION_SCHEMA)
    }

    /// The same range in buckets of another resolution, within [`DURATION_SCHEMAS`].
    #[must_use]
    pub fn durations_at(schema: i32) -> Self {
        let schema = schema.clamp(*DURATION_SCHEMAS.start(), *DURATION_SCHEMAS.end());
        Self {
            schema,
            first: 1 - (20 << schema),
            native_count: 34 << schema,
            zero_threshold: 1.0 / f64::from(1 << 20),
            bounds: DURATION_BOUNDS.to_vec(),
        }
    }

    /// The usual shape of calls of models and tools: 1 ms to 1.1 h in buckets that are 9 % wide.
    #[must_use]
    pub fn calls() -> Self {
        Self {
            schema: 3,
            first: -79,
            native_count: 176,
            zero_threshold: 1.0 / f64::from(1 << 10),
            bounds: CALL_BOUNDS.to_vec(),
        }
    }

    /// These bounds, rising, and no exponential buckets.
    #[must_use]
    pub fn classic(bounds: &[f64]) -> Self {
        let bounds = bounds.to_vec();
        Self { schema: 0, first: 0, native_count: 0, zero_threshold: 0.0, bounds }
    }

    /// Number of value words of a record of this shape.
    #[must_use]
    pub fn words(&self) -> usize {
        2 + self.native_count as usize + self.bounds.len() + 1
    }
}

/// Names of the series that musterd knows.
pub mod names {
    /// Finished requests, by `status`.
    pub const REQUESTS: &str = "agent_requests_total";
    /// Failed requests, by `category`.
    pub const ERRORS: &str = "agent_errors_total";
    /// Durations of finished requests.
    pub const DURATION: &str = "agent_request_duration_seconds";
    /// Tokens used, by `model` and `type`.
    pub const TOKENS: &str = "agent_tokens_total";
    /// Durations of calls of language models, by `model` and `outcome`.
    pub const LLM_DURATION: &str = "agent_llm_request_duration_seconds";
    /// Time until a model's answer begins, by `model`.
    pub const FIRST_TOKEN: &str = "agent_time_to_first_token_seconds";
    /// Durations of calls of tools, by `tool` and `outcome`.
    pub const TOOL_DURATION: &str = "agent_tool_duration_seconds";
}
