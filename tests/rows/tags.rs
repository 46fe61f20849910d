// Field lines of the tag header, and the parsed tags or the text of the error.

type Pairs = &'static [(&'static str, &'static str)];

pub(crate) const ROWS: &[(&[&str], Result<Pairs, &str>)] = &[
    (&[""], Ok(&[])),
    (&["a=b"], Ok(&[("a", "b")])),
    (&["foo=3"], Ok(&[("foo", "3")])),
    (&["aB_3=3"], Ok(&[("aB_3", "3")])),
    (&["baz=bleh,hello=world"], Ok(&[("baz", "bleh"), ("hello", "world")])),
    (&["a=1,A=2,_=_,0=0"], Ok(&[("a", "1"), ("A", "2"), ("_", "_"), ("0", "0")])),
    (&["ab=1,a=2,abc=3,b=4"], Ok(&[("ab", "1"), ("a", "2"), ("abc", "3"), ("b", "4")])),
    // HTTP allows spaces and tabs around the whole value.
    (&[" \ta=b\t "], Ok(&[("a", "b")])),
    // Several lines are one list, without the empty ones.
    (&["a=1", "b=2"], Ok(&[("a", "1"), ("b", "2")])),
    (&["", "a=1", " ", "b=2", ""], Ok(&[("a", "1"), ("b", "2")])),
    (&["", ""], Ok(&[])),
    (&["a=1", "a=2"], Err("duplicate key: pair 2: name already used by an earlier pair")),
    (&["a=1,", "b=2"], Err("invalid tags: pair 2, character 5: expected a name of letters, digits and '_', then '='")),
    (&["a=1", "b"], Err("invalid tags: pair 2, character 6: expected a name of letters, digits and '_', then '='")),
    // Grammar.
    (
        &["a=b=c"],
        Err("invalid tags: pair 1, character 4: expected a value of letters, digits and '_', then ',' or the end"),
    ),
    (
        &["a==c"],
        Err("invalid tags: pair 1, character 3: expected a value of letters, digits and '_', then ',' or the end"),
    ),
    (&["a"], Err("invalid tags: pair 1, character 2: expected a name of letters, digits and '_', then '='")),
    (
        &["a="],
        Err("invalid tags: pair 1, character 3: expected a value of letters, digits and '_', then ',' or the end"),
    ),
    (&["=b"], Err("invalid tags: pair 1, character 1: expected a name of letters, digits and '_', then '='")),
    (&["="], Err("invalid tags: pair 1, character 1: expected a name of letters, digits and '_', then '='")),
    (&["a,b=c"], Err("invalid tags: pair 1, character 2: expected a name of letters, digits and '_', then '='")),
    (&[","], Err("invalid tags: pair 1, character 1: expected a name of letters, digits and '_', then '='")),
    (&[",,"], Err("invalid tags: pair 1, character 1: expected a name of letters, digits and '_', then '='")),
    (&[",a=b"], Err("invalid tags: pair 1, character 1: expected a name of letters, digits and '_', then '='")),
    (&["a=b,"], Err("invalid tags: pair 2, character 5: expected a name of letters, digits and '_', then '='")),
    (&["a=b,,c=d"], Err("invalid tags: pair 2, character 5: expected a name of letters, digits and '_', then '='")),
    (&["?=2"], Err("invalid tags: pair 1, character 1: expected a name of letters, digits and '_', then '='")),
    (&["a =2"], Err("invalid tags: pair 1, character 2: expected a name of letters, digits and '_', then '='")),
    (&["a #=2"], Err("invalid tags: pair 1, character 2: expected a name of letters, digits and '_', then '='")),
    (
        &["a=#"],
        Err("invalid tags: pair 1, character 3: expected a value of letters, digits and '_', then ',' or the end"),
    ),
    (
        &["a= 2"],
        Err("invalid tags: pair 1, character 3: expected a value of letters, digits and '_', then ',' or the end"),
    ),
    (
        &["a=2 ,b=3"],
        Err("invalid tags: pair 1, character 4: expected a value of letters, digits and '_', then ',' or the end"),
    ),
    (&["a=2, b=3"], Err("invalid tags: pair 2, character 5: expected a name of letters, digits and '_', then '='")),
    (&["bad-key=x"], Err("invalid tags: pair 1, character 4: expected a name of letters, digits and '_', then '='")),
    (
        &["a=%41"],
        Err("invalid tags: pair 1, character 3: expected a value of letters, digits and '_', then ',' or the end"),
    ),
    (
        &["a=\"b\""],
        Err("invalid tags: pair 1, character 3: expected a value of letters, digits and '_', then ',' or the end"),
    ),
    (
        &["a=b;c=d"],
        Err("invalid tags: pair 1, character 4: expected a value of letters, digits and '_', then ',' or the end"),
    ),
    (&["\u{e9}=1"], Err("invalid tags: pair 1, character 1: expected a name of letters, digits and '_', then '='")),
    (
        &["a=\u{e9}"],
        Err("invalid tags: pair 1, character 3: expected a value of letters, digits and '_', then ',' or the end"),
    ),
    (
        &["abcdefghijklmnopq=abcdefghijklmnop\u{e9}"],
        Err("invalid tags: pair 1, character 35: expected a value of letters, digits and '_', then ',' or the end"),
    ),
    // A duplicate name, even with the same value. Invalid grammar anywhere is reported first.
    // Names that share their first eight characters, and names that share all but the length.
    (&["customer_id_a=1,customer_id_b=2"], Ok(&[("customer_id_a", "1"), ("customer_id_b", "2")])),
    (&["customer_id=1,customer_id_=2"], Ok(&[("customer_id", "1"), ("customer_id_", "2")])),
    (
        &["customer_id_a=1,customer_id_b=2,customer_id_a=3"],
        Err("duplicate key: pair 3: name already used by an earlier pair"),
    ),
    (&["a=b,a=c"], Err("duplicate key: pair 2: name already used by an earlier pair")),
    (&["a=b,a=b"], Err("duplicate key: pair 2: name already used by an earlier pair")),
    (
        &["x=1,abcdefghijkl=2,y=3,abcdefghijkl=4,y=5"],
        Err("duplicate key: pair 4: name already used by an earlier pair"),
    ),
    (&["a=b,a=c,d"], Err("invalid tags: pair 3, character 10: expected a name of letters, digits and '_', then '='")),
];
