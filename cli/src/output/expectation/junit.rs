//! Expectations as JUnit XML, which CI systems show.

use std::io;

use quick_xml::Writer;
use quick_xml::events::BytesText;

use super::{Checked, title};

/// A test suite for each file, a test case for each expectation.
pub(crate) fn junit(checked: &[Checked<'_>]) -> io::Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let all: usize = checked.iter().map(|file| file.expectations.len()).sum();
    let failed: usize = checked.iter().map(Checked::failed).sum();
    writer
        .create_element("testsuites")
        .with_attributes([("name", "podwall"), ("tests", &*all.to_string()), ("failures", &*failed.to_string())])
        .write_inner_content(|writer| checked.iter().try_for_each(|file| suite(writer, file)))?;
    let text = String::from_utf8_lossy(&writer.into_inner()).into_owned();
    Ok(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}\n"))
}

fn suite(writer: &mut Writer<Vec<u8>>, file: &Checked<'_>) -> io::Result<()> {
    let (tests, failures) = (file.expectations.len().to_string(), file.failed().to_string());
    writer
        .create_element("testsuite")
        .with_attributes([("name", &*file.file), ("tests", &*tests), ("failures", &*failures)])
        .write_inner_content(|writer| {
            for one in file.cases() {
                let name = title(one.expectation);
                let line = one.expectation.origin.line.to_string();
                let case = writer.create_element("testcase").with_attributes([
                    ("name", &*name),
                    ("classname", &*file.file),
                    ("file", &*file.file),
                    ("line", &*line),
                ]);
                if one.holds() {
                    case.write_empty()?;
                    continue;
                }
                let lines = one.complaints().concat();
                case.write_inner_content(|writer| {
                    writer
                        .create_element("failure")
                        .with_attribute(("message", lines.first().map_or("", String::as_str)))
                        .write_text_content(BytesText::new(&lines.join("\n")))?;
                    Ok(())
                })?;
            }
            Ok(())
        })?;
    Ok(())
}
