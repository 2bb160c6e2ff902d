//! Where public addresses are and whose networks they belong to, by files in MaxMind's format that the user has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use maxminddb::Reader;
use serde::Deserialize;

use crate::source::{FieldSink, Scalar};

/// The files that were given.
#[derive(Default)]
pub struct Places {
    networks: Option<Reader<Vec<u8>>>,
    cities: Option<Reader<Vec<u8>>>,
}

#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    #[error("cannot read \"{}\": {source}; check the path and its permissions", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("\"{}\" is no file in MaxMind's format: {reason}; fetch it again, whole and unpacked (.mmdb)", path.display())]
    Format { path: PathBuf, reason: String },
    #[error("\"{}\" is of the type \"{found}\", which has no {wanted}", path.display())]
    Type { path: PathBuf, found: String, wanted: &'static str },
}

/// What is known of an event's address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub side: Side,
    as_number: Option<u32>,
    as_name: Option<String>,
    continent: Option<String>,
    country_code: Option<String>,
    country: Option<String>,
    region_code: Option<String>,
    region: Option<String>,
    city: Option<String>,
    timezone: Option<String>,
}

/// Whose address it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Side {
    #[default]
    Source,
    Destination,
}

impl Side {
    pub fn of_field(field: &str) -> Option<Self> {
        match field {
            "source.ip" => Some(Self::Source),
            "destination.ip" => Some(Self::Destination),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct NetworkRow<'a> {
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CityRow<'a> {
    #[serde(borrow)]
    continent: Named<'a>,
    #[serde(borrow)]
    country: Named<'a>,
    #[serde(borrow)]
    registered_country: Named<'a>,
    #[serde(borrow)]
    subdivisions: Vec<Named<'a>>,
    #[serde(borrow)]
    city: Named<'a>,
    #[serde(borrow)]
    location: Location<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named<'a> {
    code: Option<&'a str>,
    iso_code: Option<&'a str>,
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Names<'a> {
    en: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Location<'a> {
    time_zone: Option<&'a str>,
}

impl Places {
    /// # Errors
    /// A file cannot be read, or is of another kind.
    pub fn open(networks: Option<&Path>, cities: Option<&Path>) -> Result<Self, GeoError> {
        let networks = networks.map(|path| open(path, &["ASN", "ISP", "Enterprise"], "networks (AS)"));
        let cities = cities.map(|path| open(path, &["City", "Country", "Enterprise"], "countries"));
        Ok(Self { networks: networks.transpose()?, cities: cities.transpose()? })
    }

    pub fn is_empty(&self) -> bool {
        self.networks.is_none() && self.cities.is_none()
    }

    /// None where nothing is known of it, as of all addresses that are not public.
    pub fn find(&self, address: IpAddr, side: Side) -> Option<Place> {
        let address = address.to_canonical();
        if !is_public(address) {
            return None;
        }
        let mut place = Place { side, ..Place::default() };
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        // A file that was damaged after it was looked at knows nothing.
        if let Some(row) = self
            .networks
            .as_ref()
            .and_then(|file| file.lookup(address).ok()?.decode::<NetworkRow<'_>>().ok()?)
        {
            place.as_number = row.autonomous_system_number;
            place.as_name = text(row.autonomous_system_organization);
        }
        if let Some(row) =
            self.cities.as_ref().and_then(|file| file.lookup(address).ok()?.decode::<CityRow<'_>>().ok()?)
        {
            // Satellites and the like have no country but the one they are registered in.
            let country = if row.country.iso_code.is_some() { row.country } else { row.registered_country };
            place.continent = text(row.continent.code);
            place.country_code = text(country.iso_code);
            place.country = text(country.names.en);
            if let Some(region) = row.subdivisions.first() {
                place.region_code =
                    region.iso_code.and_then(|code| Some(format!("{}-{code}", country.iso_code?)));
                place.region = text(region.names.en);
            }
            place.city = text(row.city.names.en);
            place.timezone = text(row.location.time_zone);
        }
        (place != Place { side, ..Place::default() }).then_some(place)
    }
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind =
            |file: &Option<Reader<Vec<u8>>>| file.as_ref().map(|file| file.metadata().database_type.clone());
        f.debug_struct("Places")
            .field("networks", &kind(&self.networks))
            .field("cities", &kind(&self.cities))
            .finish()
    }
}

/// Into memory: a file that is replaced in place while it is mapped would end the run.
fn open(path: &Path, kinds: &[&str], wanted: &'static str) -> Result<Reader<Vec<u8>>, GeoError> {
    let path_of = || path.to_owned();
    let bytes = std::fs::read(path).map_err(|source| GeoError::Read { path: path_of(), source })?;
    let failed =
        |error: maxminddb::MaxMindDbError| GeoError::Format { path: path_of(), reason: error.to_string() };
    let reader = Reader::from_source(bytes).map_err(failed)?;
    let found = reader.metadata().database_type.clone();
    if !kinds.iter().any(|kind| found.contains(kind)) {
        return Err(GeoError::Type { path: path_of(), found, wanted });
    }
    // Cut short, it would know nothing and say nothing of it.
    reader.verify().map_err(failed)?;
    Ok(reader)
}

/// Whether it belongs to somebody on the internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            let is_reserved = a == 0 || a >= 240;
            let is_benchmark = a == 198 && (b == 18 || b == 19);
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip == Ipv4Addr::BROADCAST
                || is_shared
                || is_reserved
                || is_benchmark)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip == Ipv6Addr::UNSPECIFIED
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local())
        }
    }
}

/// Writes `source.as.*`, `source.geo.*` and the same of the destination.
pub fn put_places(places: &[Place], sink: &mut dyn FieldSink) {
    for place in places {
        let side = match place.side {
            Side::Source => "source",
            Side::Destination => "destination",
        };
        if let Some(number) = place.as_number {
            sink.put(&format!("{side}.as.number"), Scalar::Int(number.into()));
        }
        for (path, text) in [
            ("as.organization.name", &place.as_name),
            ("geo.continent_code", &place.continent),
            ("geo.country_iso_code", &place.country_code),
            ("geo.country_name", &place.country),
            ("geo.region_iso_code", &place.region_code),
            ("geo.region_name", &place.region),
            ("geo.city_name", &place.city),
            ("geo.timezone", &place.timezone),
        ] {
            if let Some(text) = text {
                sink.put(&format!("{side}.{path}"), Scalar::Str(text));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
