//! Where the emulated broker differs from Redis 7.0, and why it is left so.

use crate::conformance::compare::Difference;

pub(crate) const LIMITS: Difference = Difference {
    real: &["CONFIG GET proto-max-bulk-len: [\"proto-max-bulk-len\", \"536870912\"]"],
    emulated: &["CONFIG GET proto-max-bulk-len: [\"proto-max-bulk-len\", \"16777216\"]"],
    why: "It says what it has: values of up to 16 MB, since many emulated brokers share a process.",
};

pub(crate) const FIXED_SETTINGS: Difference = Difference {
    real: &["CONFIG SET maxmemory 0: +OK"],
    emulated: &["CONFIG SET maxmemory 0: -ERR Unknown option or number of arguments for CONFIG SET - 'maxmemory'"],
    why: "The emulated Redis has no settings to change; who tries is told, in the words for a setting that isn't \
          there.",
};

pub(crate) const NO_DESCRIPTIONS: Difference = Difference {
    real: &["descriptions come: true", "commands come: true"],
    emulated: &["descriptions come: false", "commands come: false"],
    why: "The lists are empty: redis-cli makes its help of them, cluster clients their routing; both do without.",
};

pub(crate) const OTHER_TYPES: Difference = Difference {
    real: &[
        "LPUSH ~l x: :1",
        "SADD ~s x: :1",
        "ZADD ~z 1 x: :1",
        "XLEN ~x: :0",
        "SETBIT ~b 1 1: :0",
        "INCRBYFLOAT ~f 1.5: \"1.5\"",
        "PUBLISH ~c x: :0",
    ],
    emulated: &[
        "LPUSH ~l x: -ERR unknown command 'LPUSH', with args beginning with: '~/l' 'x' ",
        "SADD ~s x: -ERR unknown command 'SADD', with args beginning with: '~/s' 'x' ",
        "ZADD ~z 1 x: -ERR unknown command 'ZADD', with args beginning with: '~/z' '1' 'x' ",
        "XLEN ~x: -ERR unknown command 'XLEN', with args beginning with: '~/x' ",
        "SETBIT ~b 1 1: -ERR unknown command 'SETBIT', with args beginning with: '~/b' '1' '1' ",
        "INCRBYFLOAT ~f 1.5: -ERR unknown command 'INCRBYFLOAT', with args beginning with: '~/f' '1.5' ",
        "PUBLISH ~c x: -ERR unknown command 'PUBLISH', with args beginning with: '~/c' 'x' ",
    ],
    why: "Not emulated: strings and hashes are what is needed here; the answer is Redis' own for a command that it \
        doesn't have.",
};
