// Moves files with basic-ftp, as a partner's Node program would.
//
//   basic_ftp_client.js HOST PORT USER PASSWORD explicit|implicit TLSv1.2|TLSv1.3 VERB ...
//
//   tree FROM REMOTE TO      sends the folder FROM, lists it, and fetches it as TO
//   resume FROM REMOTE TO    goes on with the upload REMOTE, then with the download TO
//   names REMOTE MOVED       renames REMOTE, lists, and deletes MOVED

"use strict";

const fs = require("fs");
const path = require("path");
const { Client } = require("basic-ftp");

const verbs = {
    async tree(client, from, remote, to) {
        await client.uploadFromDir(from, remote);
        for (const entry of await client.list(remote)) {
            console.log(`listed: ${entry.name} ${entry.size}`);
        }
        await client.downloadToDir(to, remote);
        await client.removeDir(remote);
    },
    async resume(client, from, remote, to) {
        const there = await client.size(remote);
        console.log(`there: ${there}`);
        await client.appendFrom(fs.createReadStream(from, { start: there }), remote);
        await client.downloadTo(to, remote, fs.statSync(to).size);
    },
    async names(client, remote, moved) {
        await client.rename(remote, moved);
        for (const entry of await client.list(path.posix.dirname(moved))) {
            console.log(`listed: ${entry.name} ${entry.size}`);
        }
        await client.remove(moved);
    },
};

async function main() {
    const [host, port, user, password, entry, version, verb, ...rest] = process.argv.slice(2);
    const client = new Client(60_000);
    try {
        await client.access({
            host,
            port: Number(port),
            user,
            password,
            secure: entry === "implicit" ? "implicit" : true,
            secureOptions: {
                rejectUnauthorized: false,
                minVersion: version,
                maxVersion: version,
            },
        });
        await verbs[verb](client, ...rest);
    } finally {
        client.close();
    }
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
