#!/usr/bin/env python3
"""Writes the generated files: golden cases, malformed files, bench inputs.

    python generate.py golden       golden/*.csv (and .tsv, .json, .jsonl, .log, .txt, and compressed)
    python generate.py malformed    malformed/*
    python generate.py large --size-mb N --kind flights|taxi|text|quoted OUT

Standard library only, but for the `zstandard` of requirements.txt, which the
first two need. Everything comes from literals or from a seed through
`random.Random`'s `random` and `getrandbits`, which are the same in every
version of Python, so a second run gives the same bytes. (Compressed files may
differ in bytes, never in content, where their library is another version.)
"""

import argparse
import bz2
import gzip
import io
import json
import lzma
import sys
import zipfile
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
BOM = b"\xef\xbb\xbf"
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
DATA = (".csv", ".tsv", *(".csv" + ending for ending in PACKED), ".json", ".jsonl", ".log", ".txt")


def lines(*rows: str, end: str = "\n") -> bytes:
    return "".join(row + end for row in rows).encode()


def column(name: str, values) -> bytes:
    """One column of values plus a row number, so that no line is blank."""
    return lines(f"n,{name}", *(f"{i},{v}" for i, v in enumerate(values, 1)))


def gz(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=9, mtime=0)


def zst(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=19, write_checksum=True).compress(data)


def zipped(*members: tuple, method=zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of (name, bytes)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def pick(rng: Random, items):
    return items[int(rng.random() * len(items))]


# --------------------------------------------------------------------------
# golden: what every reader of CSV should understand the way pandas does

NULL_WORDS = ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
              "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
NULL_LOOKALIKES = ["na", "Na", "NAN", "Nan", "Null", "NONE", "none", "nil", "NaT", "+nan", "-NA", "#n/a", "-",
                   "?", "missing", "undefined"]
NUMBER_LOOKALIKES = ["1_000", "0x10", "1e", "1e+", "e5", "++1", "--1", "- 1", "-", "+", ".", "1.5.2", "1%", "$1",
                     "1d5", "1 000", "1e 5", "1f", "infini", "１", "\u00a01", "2024-01-01", "12:30", "1/2"]


def golden() -> dict:
    cases = {}

    # integers
    cases["ints.csv"] = lines("a,b", "1,10", "2,20", "3,35", "4,70", "100,5")
    cases["ints_negative.csv"] = column("v", [-5, -1, 0, 3, -200, 17])
    cases["ints_plus_sign.csv"] = column("v", ["+1", "2", "+3", "-4"])
    cases["ints_nulls.csv"] = column("v", [1, "", 3, "NA", 10, 7])
    cases["ints_constant.csv"] = column("v", [7, 7, 7, 7])
    cases["ints_near_int64.csv"] = column("v", [9223372036854775807, 9223372036854775000,
                                                4611686018427387904, 9007199254740993, 1])
    cases["ints_near_int64_negative.csv"] = column("v", [-9223372036854775808, -9223372036854775807,
                                                         -4611686018427387904, -1])
    cases["zeros.csv"] = lines("i,f", "0,0.0", "0,0.0", "0,0.0")

    # decimals
    cases["floats.csv"] = column("v", ["1.5", "2.25", "-3.125", "100.0", "0.1"])
    cases["floats_nulls.csv"] = column("v", ["1.5", "", "nan", "2.5", "NULL", "4.75"])
    cases["floats_exponent.csv"] = column("v", ["1e3", "-2.5E-3", "1e+2", "6.02e23", "1.6E-19", "5e0"])
    cases["floats_bare_point.csv"] = column("v", [".5", "5.", "-.25", "+.125", "0.75"])
    cases["floats_huge_and_tiny.csv"] = lines("huge,tiny", "1e120,1e-120", "2e120,2e-120", "4e119,8e-120")
    cases["floats_many_digits.csv"] = column("v", ["0.1234567890123456789012345", "3.14159265358979323846",
                                                   "2.718281828459045235360287", "1234567890123456.789"])
    cases["floats_whole.csv"] = column("v", ["1.0", "2.0", "3.0"])
    cases["mixed_int_float.csv"] = column("v", ["1", "2.5", "3", "-4", "0.5"])
    cases["late_float.csv"] = column("v", [*range(1, 2001), "1.5"])
    cases["late_null.csv"] = column("v", [*range(1, 2001), "NA"])
    cases["late_word.csv"] = column("v", [*range(1, 2001), "word"])
    cases["late_exponent.csv"] = column("v", [*range(1, 2001), "1e3"])
    cases["late_bool_breaks.csv"] = column("v", [*(["True", "False"] * 1000), "maybe"])
    cases["blanks_around_numbers.csv"] = lines("i,f", " 1, 1.5", "2 ,2.5 ", " 3 ,\t3.5", "4,  4.5  ")

    # quartiles by linear interpolation, for every remainder of the count
    for n in range(1, 9):
        cases[f"quartiles_of_{n}.csv"] = column("v", [1, 4, 9, 16, 25, 36, 49, 64][:n])

    # truth values
    cases["bools.csv"] = column("v", ["True", "False", "True"])
    cases["bools_spelling.csv"] = lines("n,upper,lower,title,mixed", "1,TRUE,true,True,tRUE",
                                        "2,FALSE,false,False,True", "3,FALSE,true,False,FALSE")
    cases["bools_nulls.csv"] = column("v", ["True", "", "False", "False", "NA"])
    cases["bools_tie_false_first.csv"] = column("v", ["False", "True", "True", "False"])
    cases["bools_tie_true_first.csv"] = column("v", ["True", "False", "False", "True"])
    cases["bools_constant.csv"] = column("v", ["true", "true", "true"])
    cases["bools_and_words.csv"] = column("v", ["True", "yes", "true", "True"])
    cases["bools_and_numbers.csv"] = column("v", ["True", "1", "0", "True"])
    cases["bools_with_blanks.csv"] = column("v", [" True", "False", "False"])
    cases["yes_no_is_text.csv"] = column("v", ["yes", "no", "no"])

    # text
    cases["text.csv"] = lines("name,colour", "ann,red", "bob,blue", "cid,red", "dee,green")
    cases["text_nulls.csv"] = column("v", ["x", "", "y", "NA", "x"])
    cases["text_top_tie.csv"] = column("v", ["zebra", "apple", "apple", "mango", "zebra"])
    cases["text_all_distinct.csv"] = column("v", ["pear", "apple", "fig"])
    cases["text_case_and_blanks_differ.csv"] = column("v", ["x", "X", " x", "x ", "x", "  "])
    cases["text_long.csv"] = column("v", ["lorem ipsum " * 400, "b" * 9000, "lorem ipsum " * 400])
    cases["text_and_numbers.csv"] = column("v", ["1", "1.0", "x", "1", "1e0"])
    cases["number_lookalikes.csv"] = lines(
        ",".join(f"c{i}" for i in range(len(NUMBER_LOOKALIKES))),
        ",".join(NUMBER_LOOKALIKES), ",".join("2" for _ in NUMBER_LOOKALIKES),
        ",".join("2" for _ in NUMBER_LOOKALIKES))
    cases["thousands_are_text.csv"] = column("v", ['"1,000"', '"2,500"', "7"])
    cases["long_tail.csv"] = long_tail()

    # nulls
    cases["null_words_in_text.csv"] = column("v", [*NULL_WORDS, "word"])
    cases["null_words_in_ints.csv"] = column("v", [*NULL_WORDS, "4", "6"])
    cases["null_words_in_floats.csv"] = column("v", [*NULL_WORDS, "4.5", "6.25"])
    cases["null_words_in_bools.csv"] = column("v", [*NULL_WORDS, "True", "False", "True"])
    cases["null_lookalikes.csv"] = column("v", [*NULL_LOOKALIKES, "na"])
    cases["null_with_blanks_is_text.csv"] = column("v", [" NA", "NA ", " ", "x", "NA"])
    cases["nulls_quoted.csv"] = column("v", ['"NA"', '""', '"x"', '"null"', "x"])
    cases["column_all_empty.csv"] = lines("a,b,c", "1,,x", "2,,y", "3,,x")
    cases["column_all_null_words.csv"] = lines("a,b", "1,NA", "2,null", "3,")
    cases["all_columns_null.csv"] = lines("a,b", ",", "NA,", '"",""')

    # quoting
    cases["quoted_numbers.csv"] = lines("i,f,m", '"1","1.5","1"', '"2","2.5",2', '"3","3.5","3"')
    cases["quoted_everything.csv"] = lines('"id","name"', '"1","ann"', '"2","bob"', '"3","ann"')
    cases["quoted_commas.csv"] = column("v", ['"a,b"', '"a,b"', '",,"', "c"])
    cases["quoted_newlines.csv"] = column("v", ['"one\ntwo"', '"\n"', '"one\ntwo"', '"a\n\nb"'])
    cases["quoted_crlf.csv"] = column("v", ['"one\r\ntwo"', '"one\ntwo"', '"one\rtwo"', '"one\r\ntwo"'])
    cases["quoted_quotes.csv"] = column("v", ['"say ""hi"""', '""""', '"say ""hi"""', '"""a"",""b"""'])
    cases["quoted_rows_look_like_csv.csv"] = column("v", ['"1,2\n3,4\n"', '"1,2\n3,4\n"', "x"])
    cases["backslash_is_no_escape.csv"] = column("v", ['"a\\"', "\\n", '"a\\"', '"\\\\"'])
    cases["apostrophes_are_text.csv"] = column("v", ["'a'", "'a'", "it's"])
    cases["no_newline_after_quote.csv"] = b'a,b\n1,"x"\n2,"x"'

    # lines
    cases["crlf.csv"] = lines("a,b", "1,x", "2,y", "3,x", end="\r\n")
    cases["crlf_quoted.csv"] = lines('"a","b"', '"1","x"', '"2",""', '"3","x"', end="\r\n")
    cases["cr_only.csv"] = lines("a,b", "1,x", "2,y", "3,x", end="\r")
    cases["no_final_newline.csv"] = b"a,b\n1,x\n2,y"
    cases["no_final_newline_crlf.csv"] = b"a,b\r\n1,x\r\n2,y"
    cases["no_final_newline_null.csv"] = b"a,b\n1,5\n2,"
    cases["blank_lines.csv"] = lines("", "", "a,b", "", "1,x", "", "", "2,y", "", "")
    cases["blank_lines_crlf.csv"] = lines("", "a,b", "", "1,x", "", "2,y", "", end="\r\n")
    cases["blank_lines_one_column.csv"] = lines("v", "1", "", "2", "", "", "4")
    cases["blank_lines_one_text_column.csv"] = lines("v", "x", "", "y", "", "x")
    cases["blank_lines_of_spaces.csv"] = lines("a,b", "1,x", "   ", "2,y", "\t", "3,x", " ")
    cases["blank_lines_of_spaces_one_column.csv"] = lines("v", "1", "   ", "2", "\t", "4")
    cases["quoted_empty_is_a_row.csv"] = lines("v", "1", '""', "2", '""', "6")
    cases["quoted_blank_is_text.csv"] = lines("v", "x", '" "', "y", '" "')
    cases["line_separators_are_text.csv"] = column("v", ["a\u2028b", "a\u0085b", "a\u2029b", "a\u2028b"])

    # shape
    cases["one_row.csv"] = lines("i,f,t,b", "1,2.5,x,True")
    cases["one_column.csv"] = lines("v", "3", "1", "2")
    cases["one_value.csv"] = lines("v", "42")
    cases["short_rows.csv"] = lines("a,b,c", "1", "2,x", "3,y,1.5", "4")
    cases["short_rows_text.csv"] = lines("a,b,c", "1,x,p", "2", "3,x", "4,y,p")
    cases["trailing_comma.csv"] = lines("a,b,", "1,x,", "2,y,", "3,x,")
    cases["trailing_comma_is_null.csv"] = lines("a,b", "1,", "2,5", "3,")
    cases["header_only.csv"] = lines("a,b,c")
    cases["header_only_no_newline.csv"] = b"a,b,c"
    cases["header_duplicates.csv"] = lines("a,b,a,a", "1,2,3,4", "5,6,7,8")
    cases["header_empty_names.csv"] = lines("a,,,b", "1,2,3,4", "5,6,7,8")
    cases["header_quoted.csv"] = lines('"a,1","b""x","c\nd"', "1,2,3", "4,5,6")
    cases["header_blanks_kept.csv"] = lines("a, b,c , ", "1,2,3,4", "5,6,7,8")
    cases["header_of_numbers.csv"] = lines("1,2.5,x", "3,4,a", "5,6,b")
    cases["header_of_null_words.csv"] = lines("NA,null,nan", "1,2,3", "4,5,6")
    cases["wide.csv"] = wide()

    # encoding
    cases["bom.csv"] = BOM + lines("a,b", "1,x", "2,y")
    cases["bom_quoted_header.csv"] = BOM + lines('"a","b"', "1,x", "2,y")
    cases["bom_header_only.csv"] = BOM + lines("a,b")
    cases["unicode.csv"] = lines("名称,città,цена,🙂", "北京,Genève,1,👩‍👩‍👧", "上海,Łódź,2,👩‍👩‍👧", "北京,Genève,4,é",
                                 "東京,São Paulo,8,e\u0301")
    cases["unicode_right_to_left.csv"] = column("v", ["שלום", "مرحبا", "שלום", "سلام"])
    cases["control_characters.csv"] = column("v", ["a\x01b", "\x1b[0m", "a\x01b", "\x7f"])

    # dates are text to pandas
    cases["dates.csv"] = column("v", ["2024-01-31", "2023-12-01", "2024-01-31", "2024-02-29"])
    cases["dates_nulls.csv"] = column("v", ["2024-01-31", "", "2024-02-29", "NA"])
    cases["dates_slashes.csv"] = lines("iso,us", "2024/01/31,1/31/2024", "2024/02/01,2/1/2024", "2024/02/01,2/1/2024")
    cases["datetimes.csv"] = column("v", ["2024-01-31 10:00:00", "2024-01-31 10:00:01", "2024-01-31 10:00:00"])
    cases["datetimes_zone.csv"] = column("v", ["2024-01-31T10:00:00Z", "2024-01-31T10:00:00+08:00",
                                               "2024-01-31T10:00:00.123456Z", "2024-01-31T10:00:00Z"])
    cases["datetimes_and_dates.csv"] = column("v", ["2024-01-31", "2024-01-31 00:00:00", "2024-01-31"])
    cases["dates_impossible.csv"] = column("v", ["2024-02-30", "2024-13-01", "2024-02-28"])
    cases["dates_and_words.csv"] = column("v", ["2024-01-31", "unknown", "2024-02-29", "unknown"])

    # other containers
    cases["tabs.tsv"] = lines("a\tb\tc", "1\tx,y\t1.5", "2\t\t2.5", '3\t"p\tq"\tNA', "4\tx,y\t0.5")
    cases["gzip.csv.gz"] = gz(lines("a,b", "1,x", "2,y", "3,x"))
    cases["gzip_members.csv.gz"] = gz(b"a,b\n1,x\n2,") + gz(b"y\n3,x\n") + gz(b"") + gz(b"4,z\n")
    for ending, pack in (("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zst)):
        cases[f"{ending}.csv.{ending}"] = pack(lines("a,b", "1,x", "2,y", "3,x"))
        cases[f"{ending}_streams.csv.{ending}"] = pack(b"a,b\n1,x\n2,") + pack(b"y\n3,x\n") + pack(b"") + pack(b"4,z\n")
    cases["zip.csv.zip"] = zipped(("data.csv", lines("a,b", "1,x", "2,y", "3,x")))
    cases["zip_stored.csv.zip"] = zipped(("data.csv", lines("a,b", "1,x", "2,y", "3,x")), method=zipfile.ZIP_STORED)

    # lines
    cases["app.log"] = app_log()
    cases["access.log"] = access_log()
    cases["prose.txt"] = lines("It was the best of times, it was the worst of times,", "", "  so they said; 北京 is far.",
                               " \t", "Nothing  more", end="\r\n")

    # size
    cases["many_rows.csv"] = many_rows()
    cases["many_rows_quoted.csv"] = many_rows_quoted()
    return cases | golden_json()


def golden_json() -> dict:
    """What json and pandas.json_normalize understand; lists are compared as their JSON."""
    people = ['{"id":1,"name":"ann","score":1.5}', '{"id":2,"name":"bob","score":null}', '{"id":3,"name":"cid","score":-2e-1}']
    cases = {}

    # layouts
    cases["json_lines.jsonl"] = lines(*people)
    cases["json_lines_crlf_and_blank.jsonl"] = BOM + lines(people[0], "", people[1], "  ", people[2], end="\r\n")
    cases["json_lines_named_json.json"] = lines(*people)
    cases["json_array.json"] = ("[" + ",".join(people) + "]").encode()
    cases["json_array_pretty.json"] = json.dumps([json.loads(p) for p in people], indent=2).encode()
    cases["json_object.json"] = json.dumps(json.loads(people[0]), indent=2).encode()
    cases["json_objects.json"] = "".join(people).encode()
    cases["json_objects_pretty.json"] = "\n".join(json.dumps(json.loads(p), indent=1) for p in people).encode()
    cases["json_wrapped.json"] = ('{"count": 3, "next": null, "rows": [' + ", ".join(people) + '], "ok": true}').encode()
    cases["json_scalars.json"] = b"[1, 2.5, null, 4]"
    cases["json_arrays.json"] = b'[[1, 2], ["a b", {"x": 1}], [], [1, 2]]'

    # records
    cases["json_nested.jsonl"] = lines('{"a":{"b":1,"c":{"d":"x"}},"e":2}', '{"e":3,"a":{"c":{"d":"y","f":true},"b":5}}',
                                       '{"a":{},"e":4}', '{"a":null,"e":4.5}')
    cases["json_lists.jsonl"] = lines('{"v":[1, 2, 3],"n":1}', '{"v":[],"n":2}', '{"v":[1,2,3],"n":3}', '{"v":null,"n":4}',
                                      '{"v":[{"k": "a b"}, null, true],"n":5}')
    cases["json_keys_late_and_missing.jsonl"] = lines('{"a":1}', '{"b":"x","a":2}', '{}', '{"c":true}', '{"b":"y"}')
    cases["json_keys_in_any_order.jsonl"] = lines('{"a":1,"b":2,"c":3}', '{"c":6,"a":4,"b":5}', '{"b":8,"c":9,"a":7}')
    cases["json_keys_odd.jsonl"] = lines('{"":1,"a b":2,"\\u00e9\\n":3,"a\\"b":4,"\U0001f600":5}')

    # values
    cases["json_text_that_looks_like_more.jsonl"] = lines(*(json.dumps({"v": v}) for v in
                                                            ["12", "NA", "", "null", "true", " 1.5 ", "12", "nan"]))
    cases["json_numbers.jsonl"] = lines(*(f'{{"i":{i},"f":{f}}}' for i, f in
                                          [(0, "1e3"), (-0, "-0"), (-7, "1.5E-3"), (2**53, "0.1"), (12, "6.02e+23"), (12, "1.0")]))
    cases["json_ints_near_int64.jsonl"] = lines(*(f'{{"v":{v}}}' for v in [2**63 - 1, 2**62, 2**63 - 800, 1]))
    cases["json_nan.jsonl"] = lines('{"v":1.5}', '{"v":NaN}', '{"v":2.5}', '{"v":null}')
    cases["json_truth.jsonl"] = lines('{"v":true,"w":true}', '{"v":false,"w":null}', '{"v":true,"w":false}', '{"v":true,"w":false}')
    cases["json_nothing_but_null.jsonl"] = lines('{"v":null,"n":1}', '{"n":2}')
    cases["json_dates.jsonl"] = lines('{"d":"2024-01-02","t":"2024-01-02T03:04:05Z"}', '{"d":"2023-12-31","t":"2024-01-02T03:04:05Z"}')
    cases["json_mixed.jsonl"] = lines('{"v":"word"}', '{"v":1}', '{"v":"word"}', '{"v":1.5}', '{"v":{"k":1}}')
    cases["json_escapes.json"] = b'["\\u00e9", "\xc3\xa9", "\\ud83d\\ude00", "\\/\\b\\t\\n\\\\\\"", "\\u0000"]'
    cases["json_late_word.jsonl"] = lines(*(f'{{"v":{i}}}' for i in range(2000)), '{"v":"word"}')
    cases["json_many_rows.jsonl"] = many_records()
    return cases


def many_records() -> bytes:
    """4,000 records with nested objects, lists, keys that are not always there, and text from outside of ASCII."""
    rng = Random(20240606)
    rows = []
    for i in range(4_000):
        row = {"id": i, "at": f"2024-{1 + i % 12:02}-{1 + i % 28:02}", "user": {"name": pick(rng, ["李", "Ann", "Zoë", "NA"])}}
        if rng.random() < 0.7:
            row["user"]["age"] = int(rng.random() * 90)
        if rng.random() < 0.2:
            row["error"] = {"code": pick(rng, ["404", "500"]), "retry": rng.random() < 0.5}
        row["price"] = None if rng.random() < 0.1 else round(rng.random() * 1000, 2)
        row["tags"] = [pick(rng, ["red", "green"]) for _ in range(int(rng.random() * 3))]
        rows.append(json.dumps(row, ensure_ascii=rng.random() < 0.5, separators=pick(rng, [(",", ":"), (", ", ": ")])))
    return lines(*rows)


def app_log() -> bytes:
    """600 entries of a service, some with a stack trace, a blank line now and then."""
    rng = Random(20240610)
    made = []
    for i in range(600):
        second = i // 3
        time = f"2025-08-25 12:{second // 60:02}:{second % 60:02},{int(rng.random() * 1000):03}"
        number = int(rng.random() * 100_000)
        kind = rng.random()
        if kind < 0.4:
            made.append(f"{time} INFO [worker-{number % 8}] took {number} ms for /data/in/{number}.csv")
        elif kind < 0.7:
            made.append(f"{time} DEBUG [main] connection from 10.0.{number % 256}.{number % 31}:{number % 9999} accepted")
        elif kind < 0.85:
            made.append(f'{time} WARNING [cache] miss for "{pick(rng, ["ann", "bob"])}", key {rng.getrandbits(128) | 15 << 124:032x}')
        elif kind < 0.95:
            made.append(f"{time} ERROR [db] query 0x{number:x} failed after {number / 7:.3f}s")
            made.append("java.sql.SQLException: timeout")
            made += [f"\tat app.db.Pool.get(Pool.java:{number % 300})"] * (1 + number % 3)
            made.append("Caused by: java.io.IOException: closed")
        else:
            made.append("")
    return lines(*made)


def access_log() -> bytes:
    """400 requests to a web server, two of them a second."""
    rng = Random(20240611)
    made = []
    for i in range(400):
        number = int(rng.random() * 100_000)
        made.append(f'192.168.{number % 256}.{number % 17} - - [25/Aug/2025:23:{i // 120:02}:{i // 2 % 60:02} +0200] '
                    f'"GET /items/{number} HTTP/1.1" {pick(rng, [200, 304, 404])} {number} "-" "curl/8.5.0"')
    return lines(*made)


def long_tail() -> bytes:
    """6,000 rows, about 3,000 distinct words, one clear favourite."""
    rng = Random(20240601)
    words = (f"w{int(3000 * rng.random() ** 3)}" if rng.random() < 0.6 else f"once{i}" for i in range(6000))
    return column("word", words)


def wide() -> bytes:
    rng = Random(20240602)
    cell = (
        lambda: str(int(rng.random() * 1000)),
        lambda: f"{rng.random() * 100:.3f}",
        lambda: pick(rng, ["red", "green", "blue"]),
        lambda: pick(rng, ["", "1", "2"]),
    )
    header = ",".join(f"c{i}" for i in range(200))
    return lines(header, *(",".join(cell[i % 4]() for i in range(200)) for _ in range(12)))


def many_rows() -> bytes:
    """20,000 rows of every type, some null."""
    rng = Random(20240603)
    rows = []
    for i in range(20_000):
        whole = int(rng.random() * 2_000_000) - 500_000
        price = f"{rng.random() * 900 + 1:.2f}"
        skewed = "" if rng.random() < 0.05 else str(int(1 / (rng.random() + 1e-4)))
        flag = "True" if rng.random() < 0.3 else "False"
        city = pick(rng, ["Lyon", "Oslo", "北京", "Porto", "NA"])
        rows.append(f"{i + 1},{whole},{price},{skewed},{flag},{city}")
    return lines("id,whole,price,skewed,flag,city", *rows)


def many_rows_quoted() -> bytes:
    """4,000 rows, every field quoted, with commas, quotes and newlines."""
    rng = Random(20240604)
    rows = []
    for i in range(4000):
        note = "".join(pick(rng, ["plain ", "comma, ", 'quote"" ', "line\n", "语 "]) for _ in range(1 + int(rng.random() * 5)))
        rows.append(f'"{i + 1}","{note}","{rng.random() * 10:.4f}"')
    return lines('"id","note","score"', *rows)


# --------------------------------------------------------------------------
# malformed: file name -> (bytes, defect)

PLAIN = lines("id,name,value", "1,ann,1.5", "2,bob,2.5", "3,cid,3.5")


def malformed() -> dict:
    packed = gz(PLAIN)
    rng = Random(20240605)
    noise = bytes(rng.getrandbits(8) for _ in range(600))
    nested = '"' * 2001
    return {
        # quoting
        "unclosed_quote.csv": (b'id,name\n1,"ann\n2,bob\n3,cid\n', "a quote that is opened and never closed"),
        "unclosed_quote_last_field.csv": (b'id,name\n1,ann\n2,"bob', "the file ends inside the last quoted field"),
        "stray_quote.csv": (b'id,name\n1,5" pipe\n2,a "b" c\n', "quotes inside unquoted fields"),
        "text_after_closing_quote.csv": (b'id,name\n1,"ann"x\n2,"bob" \n', "text between a closing quote and the comma"),
        "blank_before_quote.csv": (b'id,name\n1, "a,b"\n2, "c"\n', "a space before an opening quote, a comma inside"),
        "backslash_escaped_quotes.csv": (b'id,name\n1,"a \\"b\\" c"\n2,"d"\n', "quotes escaped by a backslash instead of doubled"),
        "single_quotes.csv": (b"id,name\n1,'a,b'\n2,'c'\n", "apostrophes used as quotes"),
        "odd_run_of_quotes.csv": (b"id,name\n1," + nested.encode() + b"\n2,x\n", "a field of 2,001 quotes: never closed"),
        # rows
        "row_too_long.csv": (lines("id,name", "1,ann", "2,bob,extra", "3,cid"), "one row with more fields than the header"),
        "row_too_short.csv": (lines("id,name,value", "1,ann,1.5", "2,bob", "3,cid,3.5"), "one row with fewer fields than the header"),
        "all_rows_too_long.csv": (lines("id,name", "1,ann,x", "2,bob,y", "3,cid,z"), "every row has one field more than the header"),
        "trailing_comma_in_rows.csv": (lines("id,name", "1,ann,", "2,bob,", "3,cid,"), "rows end with a comma, the header does not"),
        "trailing_comma_in_one_row.csv": (lines("id,name", "1,ann", "2,bob,", "3,cid"), "one row ends with a comma"),
        "truncated_row.csv": (b"id,name,value\n1,ann,1.5\n2,bo", "the file stops in the middle of a row"),
        "repeated_header.csv": (lines("id,name", "1,ann", "id,name", "2,bob"), "the header again in the middle, as after `cat a b`"),
        # header
        "header_only.csv": (b"id,name,value\n", "no rows"),
        "no_header.csv": (lines("1,ann,1.5", "2,bob,2.5", "3,cid,3.5"), "the first line is data"),
        "preamble.csv": (lines("Report of 2024", "", "id,name", "1,ann", "2,bob"), "a title line above the header"),
        "comment_lines.csv": (lines("# made by hand", "id,name", "1,ann", "# half way", "2,bob"), "comment lines"),
        "footer.csv": (lines("id,name", "1,ann", "2,bob", "Total: 2"), "a total below the rows"),
        "only_delimiters.csv": (lines(",,", ",,"), "a header of empty names and an empty row"),
        "duplicate_header_clash.csv": (lines("a,a,a.1", "1,2,3"), "a duplicate name whose replacement is taken"),
        # nothing there
        "empty.csv": (b"", "0 bytes"),
        "only_bom.csv": (BOM, "a byte order mark and nothing else"),
        "only_newline.csv": (b"\n", "one newline"),
        "only_blank_lines.csv": (b"\n\r\n   \n\n", "blank lines only"),
        # dialect
        "mixed_line_ends.csv": (b"id,name\r\n1,ann\n2,bob\r3,cid\r\n", "CRLF, LF and CR in one file"),
        "bare_cr_in_field.csv": (b"id,name\n1,an\rn\n2,bob\n", "an unquoted carriage return inside a field"),
        "semicolons.csv": (lines("id;name;value", "1;ann;1.5", "2;bob;2.5"), "semicolons in a file named .csv"),
        "decimal_commas.csv": (lines("id;value", "1;1,5", "2;2,5"), "semicolons and decimal commas"),
        "tabs_named_csv.csv": (lines("id\tname", "1\tann", "2\tbob"), "tabs in a file named .csv"),
        "separator_line.csv": (lines("sep=;", "id;name", "1;ann"), "the spreadsheet line `sep=;`"),
        # bytes
        "nul_bytes.csv": (b"id,name\n1,a\0nn\n2,\0\n\0003,cid\n", "NUL bytes inside fields"),
        "nul_padding.csv": (PLAIN + b"\0" * 512, "the tail of the file is zeros, as after a crash"),
        "control_z.csv": (PLAIN + b"\x1a", "an end-of-file mark of DOS"),
        "invalid_utf8.csv": (b"id,name\n1,a\xffnn\n2,\xfe\xfe\n", "bytes that no UTF-8 has"),
        "utf8_cut_at_end.csv": ("id,name\n1,北京".encode()[:-1], "the last character lacks its last byte"),
        "utf8_overlong.csv": (b"id,name\n1,\xc0\xaf\n", "an overlong encoding"),
        "utf8_surrogate.csv": (b"id,name\n1,\xed\xa0\x80\n", "an encoded surrogate"),
        "latin1.csv": ("id,name\n1,café\n2,Genève\n".encode("latin-1"), "Latin-1"),
        "gb18030.csv": ("编号,城市\n1,北京\n2,上海\n".encode("gb18030"), "GB18030"),
        "utf16_le.csv": (b"\xff\xfe" + "id,name\n1,ann\n2,北京\n".encode("utf-16-le"), "UTF-16, little endian, with its mark"),
        "utf16_be.csv": (b"\xfe\xff" + "id,name\n1,ann\n2,北京\n".encode("utf-16-be"), "UTF-16, big endian, with its mark"),
        "utf16_no_bom.csv": ("id,name\n1,ann\n2,bob\n".encode("utf-16-le"), "UTF-16 without a mark"),
        "bom_twice.csv": (BOM + BOM + PLAIN, "two byte order marks"),
        "bom_in_the_middle.csv": (PLAIN + BOM + b"4,dee,4.5\n", "a byte order mark at the start of a later line"),
        # numbers
        "leading_zeros.csv": (lines("id,code", "1,007", "2,012", "3,100"), "numbers whose leading zeros mean something"),
        "ints_beyond_int64.csv": (lines("id,v", "1,9223372036854775808", "2,-1", "3,5"), "an integer above 2^63-1, and a negative one"),
        "ints_beyond_uint64.csv": (lines("id,v", "1,99999999999999999999", "2,1", "3,1"), "an integer above 2^64"),
        "ints_beyond_int64_and_null.csv": (lines("id,v", "1,9223372036854775808", "2,", "3,5"), "an integer above 2^63-1, and a null"),
        "infinities.csv": (lines("id,v", "1,inf", "2,-Infinity", "3,1.5", "4,2.5"), "infinite numbers"),
        "float_overflow.csv": (lines("id,v", "1,1e400", "2,1.5"), "a decimal beyond the range of a double"),
        "newline_in_number.csv": (b'id,v\n1,"5\n"\n2,7\n', "a quoted number followed by a newline"),
        # size
        "many_columns.csv": (lines(",".join(f"c{i}" for i in range(10_000)), ",".join(["1"] * 10_000)), "10,000 columns"),
        "long_field.csv": (lines("id,text", "1," + "x" * 300_000, "2,short"), "a field of 300,000 bytes"),
        # not a table
        "html_error_page.csv": (b"<!DOCTYPE html>\n<html><head><title>403 Forbidden</title></head>\n<body><h1>Forbidden</h1></body></html>\n", "an error page saved under the name of the file"),
        "xml_error.csv": (b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>\n', "an object store's error saved under the name of the file"),
        "noise.csv": (noise, "600 random bytes"),
        # gzip
        "gzip_truncated.csv.gz": (packed[: len(packed) - 12], "the end of the stream is missing"),
        "gzip_without_trailer.csv.gz": (packed[:-8], "checksum and length are missing"),
        "gzip_header_only.csv.gz": (packed[:10], "nothing after the ten bytes of header"),
        "gzip_bad_checksum.csv.gz": (packed[:-8] + bytes(b ^ 0xFF for b in packed[-8:-4]) + packed[-4:], "wrong checksum"),
        "gzip_bad_length.csv.gz": (packed[:-4] + b"\x01\0\0\0", "wrong length"),
        "gzip_bad_block.csv.gz": (packed[:10] + b"\xff" * 20 + packed[30:], "a deflate block of no known type"),
        "gzip_trailing_garbage.csv.gz": (packed + b"garbage after the end", "other bytes after the stream"),
        "gzip_trailing_zeros.csv.gz": (packed + b"\0" * 64, "zero padding after the stream"),
        "gzip_second_member_corrupt.csv.gz": (packed + gz(b"4,dee,4.5\n")[:-6], "a whole member, then a truncated one"),
        "gzip_of_nothing.csv.gz": (gz(b""), "a valid stream of 0 bytes"),
        "gzip_zero_bytes.csv.gz": (b"", "0 bytes under a name that ends in .gz"),
        "gzip_twice.csv.gz": (gz(packed), "compressed twice"),
        "gzip_bomb.csv.gz": (gz(b"id,v\n" + b"0,0\n" * 12_000_000), "48 MB of rows in 47 kB, about 1000 : 1"),
        "gzip_named_csv.csv": (packed, "gzip under a name without .gz"),
        "plain_named_gz.csv.gz": (PLAIN, "plain text under a name that ends in .gz"),
        # other compressions
        "bzip2_truncated.csv.bz2": (bz2.compress(PLAIN)[:-5], "the end of the stream is missing"),
        "bzip2_trailing_garbage.csv.bz2": (bz2.compress(PLAIN) + b"garbage after the end", "other bytes after the stream"),
        "bzip2_within_gzip.csv.gz": (gz(bz2.compress(PLAIN)), "compressed twice, in two ways"),
        "xz_truncated.csv.xz": (lzma.compress(PLAIN)[:-8], "the end of the stream is missing"),
        "xz_bad_checksum.csv.xz": (xz_bad_checksum(), "wrong checksum"),
        "xz_padding.csv.xz": (lzma.compress(PLAIN) + b"\0" * 8 + lzma.compress(b"4,dee,4.5\n"), "padding between two streams, as xz allows"),
        "xz_odd_padding.csv.xz": (lzma.compress(PLAIN) + b"\0" * 3, "padding that is no multiple of four bytes"),
        "xz_large_dictionary.csv.xz": (lzma.compress(PLAIN, preset=9), "a dictionary of 64 MiB, as `xz -9` writes"),
        "zstd_truncated.csv.zst": (zst(PLAIN)[:-5], "the end of the frame is missing"),
        "zstd_bad_checksum.csv.zst": (zst(PLAIN)[:-1] + b"\0", "wrong checksum"),
        "zstd_trailing_garbage.csv.zst": (zst(PLAIN) + b"garbage after the end", "other bytes after the frame"),
        "zip_two_files.csv.zip": (zipped(("a.csv", PLAIN), ("b.csv", PLAIN)), "two files in the archive"),
        "zip_beside_macos.csv.zip": (zipped(("a.csv", PLAIN), ("__MACOSX/._a.csv", b"attributes")), "one file, and what macOS adds"),
        "zip_encrypted.csv.zip": (zip_encrypted(), "the flag of encryption"),
        "zip_method.csv.zip": (zipped(("a.csv", PLAIN), method=zipfile.ZIP_LZMA), "a method that is rarely used: LZMA"),
        "zip_without_directory.csv.zip": (zipped(("a.csv", PLAIN)).partition(b"PK\x01\x02")[0], "the directory at the end is missing"),
        "zip_of_nothing.csv.zip": (zipped(), "an archive without files"),
        "zip_bad_checksum.csv.zip": (zip_bad_checksum(), "wrong checksum"),
    } | malformed_json()


def malformed_json() -> dict:
    good = '{"id":%d,"name":"ann"}'
    three = [good % i for i in (1, 2, 3)]
    return {
        "json_empty.json": (b"", "0 bytes"),
        "json_empty_array.json": (b"[]", "an array of nothing"),
        "json_truncated.json": (("[" + ",".join(three))[:-5].encode(), "an array that breaks off"),
        "json_truncated.jsonl": ("\n".join(three)[:-5].encode(), "the last line breaks off"),
        "json_bad_line.jsonl": (lines(three[0], '{"id":2,"name":', three[2]), "a line that breaks off, between others"),
        "json_no_good_line.jsonl": (lines("id: 1", "id: 2"), "no line is JSON"),
        "json_trailing_comma.json": (("[" + ",".join(three) + ",]").encode(), "a comma behind the last record"),
        "json_trailing_commas.jsonl": (lines(*(t + "," for t in three)), "an array without its brackets"),
        "json_comments.json": (lines("// made by hand", "[", three[0], "]"), "a comment"),
        "json_single_quotes.json": (b"[{'id': 1}]", "what Python prints"),
        "json_leading_zeros.jsonl": (lines(three[0], '{"id":007,"name":"x"}'), "a number with leading zeros"),
        "json_two_arrays.json": (b"[1,2]\n,[3]", "something behind the array"),
        "json_deep.json": (b"[" * 100_000, "100,000 brackets"),
        "json_repeated_keys.jsonl": (lines(three[0], '{"id":2,"name":"x","id":3}'), "a key twice in an object"),
        "json_dotted_keys.jsonl": (lines('{"a.b":1,"a":{"b":2}}'), "a key with a dot that is also a path"),
        "json_invalid_utf8.jsonl": (b'{"name":"a\xff"}\n{"name":"b"}\n', "bytes that no UTF-8 has"),
        "json_lone_surrogate.jsonl": (lines('{"name":"\\ud800"}', three[1]), "half a character"),
        "json_raw_tab.jsonl": (lines(three[0], '{"id":2,"name":"a\tb"}'), "a tab inside a string"),
        "json_bom_twice.jsonl": (BOM + BOM + lines(*three), "two byte order marks"),
        "json_nul_padding.jsonl": (lines(*three) + b"\0" * 512, "the tail of the file is zeros, as after a crash"),
        "json_infinity.jsonl": (lines('{"v":Infinity}', '{"v":-Infinity}', '{"v":1e999}', '{"v":1}'), "infinite numbers"),
        "json_huge_ints.jsonl": (lines('{"v":123456789012345678901234567890}', '{"v":1}'), "an integer above 2^64"),
        "json_named_csv.csv": (lines(*three), "JSON Lines under a name that ends in .csv"),
        "csv_named_json.json": (PLAIN, "CSV under a name that ends in .json"),
    }


def xz_bad_checksum() -> bytes:
    """CRC64 ends at the index, whose size the footer says."""
    packed = lzma.compress(PLAIN)
    index = (int.from_bytes(packed[-8:-4], "little") + 1) * 4
    last = len(packed) - 12 - index - 1
    return packed[:last] + bytes([packed[last] ^ 0xFF]) + packed[last + 1 :]


def zip_encrypted() -> bytes:
    packed = bytearray(zipped(("a.csv", PLAIN)))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    return bytes(packed)


def zip_bad_checksum() -> bytes:
    packed = bytearray(zipped(("a.csv", PLAIN)))
    for at in (14, packed.index(b"PK\x01\x02") + 16):
        packed[at] ^= 0xFF
    return bytes(packed)


# --------------------------------------------------------------------------
# large: bench inputs, never committed

MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
CLOCK = [f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(86_400)]
DAYS = [f"2024-{m:02}-{d:02}" for m, n in enumerate(MONTHS, 1) for d in range(1, n + 1)]
SYLLABLES = ("ba", "co", "di", "fu", "ga", "lo", "mi", "na", "pe", "ro", "sa", "ti", "vu", "xe", "zo", "han")
CHINESE = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"


def flights(rng: Random, source: Path):
    data = source.read_bytes().replace(b"\r\n", b"\n")
    header, _, rows = data.partition(b"\n")
    yield header + b"\n"
    while True:
        yield rows


def taxi(rng: Random, _: Path):
    """Like New York's taxi table: decimals, small integers, two timestamps."""
    yield (b"vendor_id,pickup_datetime,dropoff_datetime,passenger_count,trip_distance,rate_code,stored,"
           b"pickup_zone,dropoff_zone,payment_type,fare,extra,mta_tax,tip,tolls,improvement,total,congestion\n")
    cents = [f"{i / 100:.2f}" for i in range(1 << 14)]
    bits = rng.getrandbits
    i = 0
    while True:
        rows = []
        for _ in range(20_000):
            r = bits(96)
            second = (i // 9) % (86_400 * 366)
            i += 1
            end = second + 60 + (r & 2047)
            distance = (r >> 11 & 1023) + (r >> 21 & 511)
            fare = 300 + distance * 3
            tip = (r >> 30 & 1023) if r >> 40 & 1 else 0
            tolls = 655 if r >> 41 & 31 == 0 else 0
            rows.append(
                f"{1 + (r >> 46 & 1)},{DAYS[second // 86400]} {CLOCK[second % 86400]},"
                f"{DAYS[end // 86400 % 366]} {CLOCK[end % 86400]},"
                f"{'' if r >> 47 & 31 == 0 else 1 + (r >> 52 & 3)},{cents[distance]},{1 + (r >> 54 & 3)},"
                f"{'NY'[r >> 56 & 31 == 0]},{1 + (r >> 61 & 255)},{1 + (r >> 69 & 255)},{1 + (r >> 77 & 1)},"
                f"{cents[fare]},{'0.50' if r >> 78 & 1 else '0.00'},0.50,{cents[tip]},{cents[tolls]},0.30,"
                f"{cents[fare + tip + tolls + 80]},{'2.50' if r >> 79 & 3 else '0.00'}\n")
        yield "".join(rows).encode()


def phrases(rng: Random, n: int, words: int) -> list:
    """`n` phrases over a vocabulary of 4,096 words, short ones more frequent."""
    vocabulary = ["".join(pick(rng, SYLLABLES) for _ in range(1 + i % 4)) for i in range(4096)]
    made = []
    for _ in range(n):
        chosen = [vocabulary[int(4096 * rng.random() ** 2)] for _ in range(words)]
        if rng.random() < 0.05:
            chosen.append("".join(pick(rng, CHINESE) for _ in range(4)))
        made.append(" ".join(chosen))
    return made


def text(rng: Random, _: Path):
    """Reviews: a short title and a long body; one body in eight is quoted."""
    yield b"id,author,title,body,language,stars,posted\n"
    short = phrases(rng, 4096, 3)
    long = phrases(rng, 8192, 9)
    tails = (", ", ". ", '. ""', "\n")
    bits = rng.getrandbits
    i = 0
    while True:
        rows = []
        for _ in range(10_000):
            i += 1
            r = bits(128)
            parts = (long[r & 8191], long[r >> 13 & 8191], long[r >> 26 & 8191], long[r >> 39 & 8191])
            if r >> 52 & 7:
                body = " ".join(parts[: 1 + (r >> 55 & 3)])
            else:
                tail = tails[r >> 57 & 3]
                body = f'"{parts[0]}{tail}{parts[1]}{tail}{parts[2]}"'
            rows.append(
                f"{i},user{r >> 60 & 0x3FFFF},{short[r >> 78 & 4095]},{body},"
                f"{('en', 'fr', 'zh', '')[r >> 90 & 3]},{1 + (r >> 92 & 3)},{DAYS[(r >> 94 & 511) % 366]}\n")
        yield "".join(rows).encode()


def quoted(rng: Random, _: Path):
    """Every field quoted: numbers, dates, and comments with commas and quotes."""
    yield b'"order_id","customer","city","amount","quantity","ordered","comment"\n'
    names = phrases(rng, 8192, 2)
    remarks = [r.replace(" ", ', ', 1) if i % 4 else f'""{r}""' for i, r in enumerate(phrases(rng, 8192, 5))]
    cities = ("Paris", "São Paulo", "北京", "Washington, D.C.", "Nairobi", "Reykjavík", "Lima", "")
    bits = rng.getrandbits
    i = 0
    while True:
        rows = []
        for _ in range(20_000):
            i += 1
            r = bits(96)
            rows.append(
                f'"{i}","{names[r & 8191]}","{cities[r >> 13 & 7]}","{r >> 16 & 16383}.{10 + (r >> 30 & 63)}",'
                f'"{1 + (r >> 36 & 15)}","{DAYS[(r >> 40 & 511) % 366]} {CLOCK[r >> 49 & 65535]}",'
                f'"{remarks[r >> 65 & 8191]}"\n')
        yield "".join(rows).encode()


KINDS = {"flights": flights, "taxi": taxi, "text": text, "quoted": quoted}


def large(kind: str, size: int, seed: int, source: Path, out: Path) -> None:
    """Writes whole blocks, the last one cut at the end of a row."""
    written = 0
    with open(out, "wb", buffering=0) as file:
        for data in KINDS[kind](Random(seed), source):
            if written + len(data) > size:
                data = data[: row_end(data, size - written)]
                file.write(data)
                return
            written += file.write(data)


def row_end(data: bytes, limit: int) -> int:
    """The last end of a row at or before `limit`: a newline outside quotes."""
    end = data.rfind(b"\n", 0, max(limit, 0)) + 1
    while end and data.count(b'"', 0, end) % 2:
        end = data.rfind(b"\n", 0, end - 1) + 1
    return end


# --------------------------------------------------------------------------


def is_data(path: Path) -> bool:
    """Whether it is a file to read, not what is expected of one."""
    return path.name.endswith(DATA) and not path.name.endswith(".expected.json")


def write_folder(folder: Path, files: dict) -> None:
    """Writes `files` and removes the data files that are no longer made."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if is_data(old) and old.name not in files:
            old.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    print(f"{folder.name}: {len(files)} files, {sum(map(len, files.values())):,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("golden")
    commands.add_parser("malformed")
    big = commands.add_parser("large")
    big.add_argument("--size-mb", type=float, required=True, help="millions of bytes, at most")
    big.add_argument("--kind", choices=KINDS, required=True)
    big.add_argument("--seed", type=int, default=1)
    big.add_argument("--rows", type=Path, default=HERE / "samples" / "flights.csv",
                     help="file whose rows --kind flights repeats")
    big.add_argument("out", type=Path)
    args = parser.parse_args()
    if args.command == "golden":
        write_folder(HERE / "golden", golden())
    elif args.command == "malformed":
        write_folder(HERE / "malformed", {name: data for name, (data, _) in malformed().items()})
    else:
        large(args.kind, int(args.size_mb * 1e6), args.seed, args.rows, args.out)


if __name__ == "__main__":
    sys.exit(main())
