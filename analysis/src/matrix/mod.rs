//! Who reaches whom, on which port.
