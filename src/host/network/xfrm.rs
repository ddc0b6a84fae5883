//! `xfrm`: packets that IPsec had to drop, of `/proc/net/xfrm_stat` (Documentation/networking/xfrm_proc.rst).
//!
//! Must not know any policy.

use super::net;
use crate::host::gathered::Gathered;
use crate::host::parse::{lines, number, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const FAMILIES: [Family; 1] = [Family::counter(
    "node_xfrm_*_packets_total",
    &[],
    "Packets dropped for the reason that the name names.",
)];

/// What is shown of every kernel: 0 where it does not count it.
const COUNTED: [&str; 28] = [
    "in_error",
    "in_buffer_error",
    "in_hdr_error",
    "in_no_states",
    "in_state_proto_error",
    "in_state_mode_error",
    "in_state_seq_error",
    "in_state_expired",
    "in_state_mismatch",
    "in_state_invalid",
    "in_tmpl_mismatch",
    "in_no_pols",
    "in_pol_block",
    "in_pol_error",
    "out_error",
    "out_bundle_gen_error",
    "out_bundle_check_error",
    "out_no_states",
    "out_state_proto_error",
    "out_state_mode_error",
    "out_state_seq_error",
    "out_state_expired",
    "out_pol_block",
    "out_pol_dead",
    "out_pol_error",
    "fwd_hdr_error",
    "out_state_invalid",
    "acquire_error",
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "xfrm", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Xfrm {
            file: net::file(root, "xfrm_stat").single(),
            gathered: Gathered::default(),
        })
    }))
}

struct Xfrm {
    file: KernelFile,
    gathered: Gathered,
}

impl Collector for Xfrm {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        let mut uncounted = COUNTED.to_vec();
        let text = self.file.read(pass.buffer)?;
        for line in lines(text) {
            let mut words = words(line);
            let (name, count) = (words.next().and_then(snake_case), words.next().and_then(number));
            let (Some(name), Some(count)) = (name, count) else {
                let what = "wanted `XfrmNAME COUNT`";
                return Err(Error::Parse(format!("net/xfrm_stat: {what}, found {}", quoted(line))));
            };
            uncounted.retain(|known| *known != name);
            self.gathered.add_named(0, name.as_bytes(), &[], count);
        }
        for name in uncounted {
            self.gathered.add_named(0, name.as_bytes(), &[], 0.0);
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

/// `in_hdr_error` of `XfrmInHdrError`.
fn snake_case(name: &[u8]) -> Option<String> {
    let name =
        std::str::from_utf8(name).ok()?.strip_prefix("Xfrm").filter(|name| !name.is_empty())?;
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    Some(snake)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::one_pass::text_of as one_pass;

    #[test]
    fn what_a_kernel_does_not_count_is_0() {
        let top = std::env::temp_dir().join(format!("musterd-xfrm-{}", std::process::id()));
        std::fs::create_dir_all(&top).unwrap();
        let path = top.join("xfrm_stat");
        std::fs::write(&path, "XfrmInHdrError          \t7\nXfrmInStateDirError\t1\n").unwrap();
        let file = KernelFile::new(path).single();
        let text = one_pass(&mut Xfrm { file, gathered: Gathered::default() });
        std::fs::remove_dir_all(&top).unwrap();
        let shown = |name: &str| {
            let start = format!("node_xfrm_{name}_packets_total ");
            text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
        };
        assert_eq!((shown("in_hdr_error"), shown("in_state_dir_error")), (Some(7), Some(1)));
        assert!(COUNTED.iter().all(|name| shown(name).is_some()), "{text}");
        assert_eq!(shown("acquire_error"), Some(0));
    }

    #[test]
    fn names() {
        assert_eq!(snake_case(b"XfrmInHdrError").as_deref(), Some("in_hdr_error"));
        assert_eq!((snake_case(b"Xfrm"), snake_case(b"InHdrError")), (None, None));
    }
}
