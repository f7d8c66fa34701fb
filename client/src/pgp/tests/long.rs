//! Files that take long.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use super::*;
use gnupg::Gnupg;

const MIB: usize = 1024 * 1024;

fn same(first: &Path, second: &Path) -> bool {
    let mut files = [first, second].map(|path| File::open(path).expect("open"));
    let mut pieces = [vec![0; MIB], vec![0; MIB]];
    loop {
        let read = [0, 1].map(|which| {
            let (file, piece) = (&mut files[which], &mut pieces[which]);
            let mut length = 0;
            while length < MIB {
                match file.read(&mut piece[length..]).expect("read") {
                    0 => break,
                    more => length += more,
                }
            }
            length
        });
        if read[0] != read[1] || pieces[0][..read[0]] != pieces[1][..read[0]] {
            return false;
        }
        if read[0] == 0 {
            return true;
        }
    }
}

#[test]
#[ignore = "long: moves 2 GiB"]
fn half_a_gibibyte_goes_both_ways() {
    let ours = own_keys("layover");
    let Some(gnupg) = Gnupg::new() else { return };
    gnupg.make_key("partner", "future-default", "never");
    gnupg.import(ours.newest().public_armored().expect("armor").as_bytes());
    let partner = Arc::new(PartnerKey::read(&gnupg.export("partner")).expect("read the key"));
    let [plain, sealed, back] = ["plain", "sealed", "back"].map(|name| gnupg.file(name));
    let by_gnupg = |options: &[&str], from: &Path, to: &Path| {
        let paths = ["--output", to.to_str().expect("text")];
        let arguments = [&paths[..], options, &[from.to_str().expect("text")]].concat();
        gnupg.run(&arguments, b"").expect("gpg")
    };
    {
        let mut file = BufWriter::new(File::create(&plain).expect("create"));
        let mut piece = noise(MIB);
        for index in 0..500_u64 {
            piece[..8].copy_from_slice(&index.to_be_bytes());
            file.write_all(&piece).expect("write");
        }
    }

    let options = EncryptOptions {
        sign_with: Some(Arc::clone(&ours)),
        ..sealing_to(Arc::clone(&partner))
    };
    let done = encrypt(
        File::open(&plain).expect("open"),
        File::create(&sealed).expect("create"),
        &options,
    );
    assert_eq!(done.expect("encrypt").plain_bytes, 500 * MIB as u64);
    let ran = by_gnupg(&["--decrypt"], &sealed, &back);
    assert!(ran.status("VALIDSIG").is_some());
    assert!(same(&plain, &back), "GnuPG reads what we wrote");

    by_gnupg(
        &["--encrypt", "--sign", "--recipient", "layover", "-z", "1"],
        &plain,
        &sealed,
    );
    let options = DecryptOptions {
        sender: SenderRule::SignedBy(partner),
        ..opening_with(&ours)
    };
    decrypt(
        File::open(&sealed).expect("open"),
        File::create(&back).expect("create"),
        &options,
    )
    .expect("decrypt");
    assert!(same(&plain, &back), "we read what GnuPG wrote");
}
