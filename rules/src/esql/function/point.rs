//! Points on the earth, as texts.

use std::fmt;

use super::Function;

/// As Elasticsearch takes it.
const EARTH_RADIUS_METRES: f64 = 6_371_008.771_4;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Longitude.
    x: f64,
    /// Latitude.
    y: f64,
}

impl Point {
    /// `POINT(lon lat)`, or `lat,lon` as documents have it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_wkt = text.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("point"));
        let (first, second) = match is_wkt {
            true => text[5..]
                .trim()
                .strip_prefix('(')?
                .strip_suffix(')')?
                .trim()
                .split_once(char::is_whitespace)?,
            false => {
                let (lat, lon) = text.split_once(',')?;
                (lon, lat)
            }
        };
        let (x, y): (f64, f64) = (first.trim().parse().ok()?, second.trim().parse().ok()?);
        let is_on_earth = (-180.0..=180.0).contains(&x) && (-90.0..=90.0).contains(&y);
        is_on_earth.then_some(Self { x, y })
    }

    /// Along the great circle.
    fn metres_to(self, other: Self) -> f64 {
        let half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let flat = half(other.y - self.y)
            + self.y.to_radians().cos() * other.y.to_radians().cos() * half(other.x - self.x);
        2.0 * EARTH_RADIUS_METRES * flat.clamp(0.0, 1.0).sqrt().asin()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "POINT ({} {})", self.x, self.y)
    }
}

pub(super) fn measure(function: Function, texts: &[&str]) -> Option<f64> {
    let point = Point::parse(texts[0])?;
    match function {
        Function::PointX => Some(point.x),
        Function::PointY => Some(point.y),
        Function::PointDistance => Some(point.metres_to(Point::parse(texts.get(1)?)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_distances() {
        let vienna = "POINT(16.37 48.21)";
        assert_eq!(measure(Function::PointX, &[vienna]), Some(16.37));
        assert_eq!(measure(Function::PointY, &["48.21, 16.37"]), Some(48.21));
        assert_eq!(Point::parse("48.21,16.37"), Point::parse(vienna));
        let to_paris = measure(Function::PointDistance, &[vienna, "POINT (2.35 48.86)"]).expect("two points");
        assert!((1_030_000.0..1_040_000.0).contains(&to_paris), "{to_paris}");
        for bad in ["", "POINT", "POINT(1)", "POINT(181 0)", "x,y", "pöint(1 2)"] {
            assert_eq!(Point::parse(bad), None, "{bad}");
        }
    }
}
