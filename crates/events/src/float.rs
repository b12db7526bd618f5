//! Floating-point numbers as text, in the one form that servers agree on for events of room versions 1 to 5: Python's.
//! <https://docs.python.org/3/library/functions.html#repr>

/// Decimal exponents that are written out, with zeros.
const PLAIN_EXPONENTS: std::ops::Range<i32> = -4..16;

/// The fewest digits that stand for this number and no other, always with a fraction or an exponent. The number is
/// finite.
pub(crate) fn to_text(number: f64) -> String {
    let scientific = shortest(number);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if PLAIN_EXPONENTS.contains(&exponent) {
        plain(mantissa, exponent)
    } else {
        format!("{mantissa}e{exponent:+03}")
    }
}

/// Sign and shortest digits, with an exponent.
fn shortest(number: f64) -> String {
    let text = format!("{number:e}");
    let mantissa = text.split('e').next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    // Of two texts that are equally short and equally near to the number, Rust takes the greater here, Python the one
    // with an even last digit, which Rust takes when it is told how many digits there are.
    let even = format!("{number:.*e}", digits.saturating_sub(1));
    // Next to a power of two the nearest text of that length may stand for another number.
    if even.parse() == Ok(number) {
        even
    } else {
        text
    }
}

/// The number without its exponent.
fn plain(mantissa: &str, exponent: i32) -> String {
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits = mantissa.replace('.', "");
    let Ok(exponent) = usize::try_from(exponent) else {
        let width = digits.len() + exponent.unsigned_abs() as usize - 1;
        return format!("{sign}0.{digits:0>width$}");
    };
    match digits.split_at_checked(exponent + 1) {
        Some((whole, fraction)) if !fraction.is_empty() => format!("{sign}{whole}.{fraction}"),
        _ => {
            let width = exponent + 1;
            format!("{sign}{digits:0<width$}.0")
        }
    }
}
