//! `network_route`: the routes that packets take, asked of the kernel over rtnetlink(7) (ip-route(8)).
//!
//! Must not know about packets.

use super::netlink::{Netlink, array, attributes, number};
use crate::host::gathered::Gathered;
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use rustix::net::netdevice::index_to_name;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

const FAMILIES: [Family; 2] = [
    Family::gauge(
        "node_network_route_info",
        &["dest", "device", "gw", "priority", "proto", "src", "weight"],
        "A route; always 1.",
    ),
    Family::gauge("node_network_routes", &["device"], "Routes by way of the device."),
];
/// Of linux/rtnetlink.h.
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const UNICAST: u8 = 1;
const DESTINATION: u16 = 1;
const DEVICE: u16 = 4;
const GATEWAY: u16 = 5;
const PRIORITY: u16 = 6;
const SOURCE: u16 = 7;
const MULTIPATH: u16 = 9;
/// The length of the fixed part of a message (struct rtmsg), and of a hop (struct rtnexthop).
const FIXED: usize = 12;
const HOP: usize = 8;

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "network_route", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|_: &Arc<Root>| {
        Box::new(NetworkRoute { netlink: None, gathered: Gathered::default() })
    }))
}

struct NetworkRoute {
    netlink: Option<Netlink>,
    gathered: Gathered,
}

/// A route by way of one device. A route with several hops is one of these for each.
#[derive(Clone, Debug, Default, PartialEq)]
struct Route {
    device: u32,
    destination: String,
    gateway: String,
    source: String,
    priority: u32,
    protocol: &'static str,
    /// Only where there are several hops.
    weight: String,
}

impl Collector for NetworkRoute {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        self.ask(pass.deadline)
            .map_err(|source| Error::Read { path: "netlink route socket".into(), source })?;
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

impl NetworkRoute {
    fn ask(&mut self, deadline: Instant) -> io::Result<()> {
        let mut netlink = match self.netlink.take() {
            Some(netlink) => netlink,
            None => Netlink::open(None)?,
        };
        let mut routes = Vec::new();
        netlink.dump(GET_ROUTE, &[0; FIXED], deadline, |kind, body| {
            if kind == NEW_ROUTE {
                parse(body, &mut routes);
            }
        })?;
        let mut devices = BTreeMap::new();
        for route in &routes {
            // The device may just have gone.
            let Ok(name) = index_to_name(netlink.socket(), route.device) else { continue };
            let labels = [
                ("dest", route.destination.as_str()),
                ("device", &name),
                ("gw", &route.gateway),
                ("priority", &route.priority.to_string()),
                ("proto", route.protocol),
                ("src", &route.source),
                ("weight", &route.weight),
            ];
            self.gathered.add(0, &labels, 1.0);
            *devices.entry(name).or_insert(0.0) += 1.0;
        }
        for (name, count) in devices {
            self.gathered.add(1, &[("device", &name)], count);
        }
        self.netlink = Some(netlink);
        Ok(())
    }
}

/// Reads a message about a route, if that leads anywhere: not one to this machine itself, or a
/// broadcast.
fn parse(body: &[u8], routes: &mut Vec<Route>) -> Option<()> {
    let fixed: [u8; FIXED] = array(body, 0)?;
    let [family, bits, _, _, _, protocol, _, kind, ..] = fixed;
    if kind != UNICAST {
        return None;
    }
    let mut route =
        Route { destination: "default".to_owned(), protocol: name(protocol), ..Route::default() };
    let mut hops: &[u8] = &[];
    for (kind, value) in attributes(body.get(FIXED..)?) {
        match kind {
            DESTINATION => route.destination = format!("{}/{bits}", address(family, value)?),
            DEVICE => route.device = number(value, 0)?,
            GATEWAY => route.gateway = address(family, value)?.to_string(),
            PRIORITY => route.priority = number(value, 0)?,
            SOURCE => route.source = address(family, value)?.to_string(),
            MULTIPATH => hops = value,
            _ => {}
        }
    }
    if hops.is_empty() {
        routes.push(route);
        return Some(());
    }
    while let Some(length) = array(hops, 0).map(u16::from_ne_bytes) {
        let hop = hops.get(..usize::from(length))?;
        let mut own = route.clone();
        own.weight = (u32::from(*hop.get(3)?) + 1).to_string();
        own.device = number(hop, 4)?;
        for (kind, value) in attributes(hop.get(HOP..)?) {
            if kind == GATEWAY {
                own.gateway = address(family, value)?.to_string();
            }
        }
        routes.push(own);
        hops = hops.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
    }
    Some(())
}

fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        2 => array::<4>(bytes, 0).map(IpAddr::from),
        10 => array::<16>(bytes, 0).map(IpAddr::from),
        _ => None,
    }
}

/// Who made the route (linux/rtnetlink.h), of those that node_exporter knows.
fn name(protocol: u8) -> &'static str {
    match protocol {
        0 => "unspec",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        8 => "gated",
        9 => "ra",
        10 => "mrt",
        11 => "zebra",
        12 => "bird",
        13 => "dnrouted",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        17 => "mrouted",
        42 => "babel",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::super::netlink::attribute;
    use super::*;

    fn message(kind: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        let fixed = [2, 24, 0, 0, 254, 3, 0, kind, 0, 0, 0, 0];
        [&fixed[..], &attributes.concat()].concat()
    }

    #[test]
    fn routes_are_read() {
        let attributes = [
            attribute(DESTINATION, &[10, 0, 7, 0]),
            attribute(DEVICE, &3u32.to_ne_bytes()),
            attribute(GATEWAY, &[10, 0, 0, 1]),
            attribute(PRIORITY, &100u32.to_ne_bytes()),
        ];
        let mut routes = Vec::new();
        parse(&message(UNICAST, &attributes), &mut routes).unwrap();
        let wanted = Route {
            device: 3,
            destination: "10.0.7.0/24".to_owned(),
            gateway: "10.0.0.1".to_owned(),
            priority: 100,
            protocol: "boot",
            ..Route::default()
        };
        assert_eq!(routes, [wanted]);
        assert_eq!(parse(&message(3, &attributes), &mut routes), None);
        assert_eq!((name(2), name(18), name(200)), ("kernel", "unknown", "unknown"));
    }

    #[test]
    fn hops_are_routes_of_their_own() {
        let hop = |device: u32, weight: u8| {
            let gateway = attribute(GATEWAY, &[10, 0, 0, weight]);
            let length = u16::try_from(HOP + gateway.len()).unwrap();
            [&length.to_ne_bytes()[..], &[0, weight], &device.to_ne_bytes(), &gateway].concat()
        };
        let multipath = attribute(MULTIPATH, &[hop(3, 0), hop(4, 9)].concat());
        let whole = message(UNICAST, &[multipath]);
        let mut routes = Vec::new();
        parse(&whole, &mut routes).unwrap();
        let shown: Vec<_> = routes
            .iter()
            .map(|route| (route.device, route.weight.as_str(), route.gateway.as_str()))
            .collect();
        assert_eq!(shown, [(3, "1", "10.0.0.0"), (4, "10", "10.0.0.9")]);
        for end in 0..whole.len() {
            let _ = parse(&whole[..end], &mut Vec::new());
        }
    }
}
