// Compares string formats with the grammars of their RFCs, for valid and invalid strings.
import { describe, expect, test } from "vitest";
import { Automaton, compileSchema } from "../../lib/constrain/index.ts";

const label = (length: number) => "a".repeat(length);

const examples: Record<string, { valid: string[]; invalid: string[] }> = {
  date: {
    valid: ["2024-02-29", "2000-02-29", "0000-02-29", "1999-12-31", "2023-04-30"],
    invalid: ["2023-02-29", "1900-02-29", "2023-04-31", "2023-13-01", "2023-00-10", "2023-1-1", "23-01-01", ""],
  },
  time: {
    valid: [
      ...["00:00:00Z", "23:59:59z", "12:30:15.5Z", "12:30:15.123456789012+05:30", "08:00:00-00:00"],
      ...["23:59:60Z", "23:59:60z", "23:59:60.25Z", "23:59:60+00:00", "23:59:60-00:00"],
      ...["00:59:60+01:00", "05:29:60+05:30", "15:59:60-08:00", "18:29:60-05:30", "22:59:60+23:00", "00:29:60-23:30"],
    ],
    invalid: [
      ...["24:00:00Z", "12:60:00Z", "12:00:61Z", "12:00:00", "12:00Z", "12:00:00.Z", "12:00:00+24:00", "1:00:00Z"],
      ...["22:59:60Z", "23:58:60Z", "23:59:60+01:00", "00:59:60-01:00", "05:29:60-05:30", "12:00:60Z"],
    ],
  },
  "date-time": {
    valid: [
      "1985-04-12T23:20:50.52Z",
      "1998-12-31T23:59:60Z",
      "1998-12-31t15:59:60.123-08:00",
      "1937-01-01T12:00:27.87+00:20",
    ],
    invalid: [
      "1998-12-31T23:58:60Z",
      "1985-04-12 23:20:50Z",
      "1985-04-31T00:00:00Z",
      "1985-04-12T23:20:50",
      "1985-04-12",
    ],
  },
  duration: {
    valid: ["P4Y", "P1Y2M3DT4H5M6S", "PT0S", "P0D", "PT36H", "P2W", "P23DT23H", "PT1H30M", "P1M", "PT123456789012S"],
    invalid: ["P", "PT", "4D", "P4DT", "P1D2H", "P2D1Y", "P1Y2W", "P1YT", "PT1D", "P1Y3D", "PT1H5S", "P-1D", "P1.5D"],
  },
  email: {
    valid: [
      ...[
        "joe.bloggs@example.com",
        "te~st@example.com",
        "a!#$%&'*+/=?^_`{|}~-b@x.org",
        "user@localhost",
        "a@xn--bcher-kva.de",
      ],
      ...['"joe bloggs"@example.com', '"joe..bloggs"@example.com', '"joe@bloggs"@example.com', '"a\\"b"@example.com'],
      ...["joe@[127.0.0.1]", "joe@[IPv6:::1]", `${"a".repeat(64)}@example.com`, `"${"a".repeat(62)}"@example.com`],
    ],
    invalid: [
      ...[
        "2962",
        ".test@example.com",
        "test.@example.com",
        "te..st@example.com",
        "joe bloggs@example.com",
        "@example.com",
      ],
      ...[
        "joe@",
        "joe@-a.com",
        "joe@a..com",
        "joe@[300.0.0.1]",
        "joe@[::1]",
        "a@b@c.com",
        '"a"b"@c.com',
        "joe@a_b.com",
      ],
      ...[`${"a".repeat(65)}@example.com`, `"${"a".repeat(63)}"@example.com`, "jöe@example.com"],
    ],
  },
  hostname: {
    valid: [
      ...[
        "www.example.com",
        "xn--4gbwdl.xn--wgbh1c",
        "xn--bcher-kva",
        "a",
        "1host",
        "a-b--c",
        "1.2.3.4",
        "EXAMPLE.com",
      ],
      ...[
        label(63),
        `${label(63)}.${label(62)}.${label(62)}.${label(62)}`,
        `${label(63)}.eu-west-1.compute.example.com`,
        `${label(63)}.${label(63)}.${label(63)}`,
        "service.my-namespace-with-long-name.svc.cluster.local",
        `a.b.c.d.e.f.g.h.${label(63)}.com`,
      ],
    ],
    invalid: [
      ...["", ".", "-a", "a-", "a.-b", "a..b", ".a", "a.", "a_b", "a b", label(64), `b.${label(64)}`, "bücher"],
      `${label(63)}.${label(63)}.${label(63)}.${label(63)}`,
    ],
  },
  ipv4: {
    valid: ["192.168.0.1", "0.0.0.0", "255.255.255.255", "9.10.99.100"],
    invalid: ["256.0.0.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.", "0x7f.0.0.1", "1.2.3.4/24"],
  },
  ipv6: {
    valid: [
      ...[
        "::",
        "::1",
        "1::",
        "1:2:3:4:5:6:7:8",
        "ABCD:ef01::1",
        "1:2:3:4:5:6:7::",
        "::2:3:4:5:6:7:8",
        "1::3:4:5:6:7:8",
        "::42:ff:1",
      ],
      ...[
        "::ffff:192.0.2.128",
        "::1.2.3.4",
        "1:2:3:4:5:6:1.2.3.4",
        "1:2:3:4:5::1.2.3.4",
        "64:ff9b::192.0.2.33",
        "1::2:3:4:5:1.2.3.4",
      ],
    ],
    invalid: [
      ...[
        "",
        ":",
        ":::",
        "1::2::3",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "12345::",
        "g::",
        ":1",
        "1:",
        "fe80::1%eth0",
        "::1/64",
      ],
      ...[
        "1.2.3.4",
        "::ffff:256.0.0.1",
        "1:2:3:4:5:6:7:1.2.3.4",
        "1:2:3:4:5:6::1.2.3.4",
        "::1.2.3.4:1",
        "::1.2.3",
        "1:2:3:4:5:1.2.3.4",
      ],
    ],
  },
  uri: {
    valid: [
      ...[
        "http://foo.bar/?baz=qux#quux",
        "http://foo.com/blah_(wikipedia)_blah#cite-1",
        "https://a.b:8080/c;d=e,f/",
        "http://223.255.255.254",
      ],
      ...[
        "mailto:John.Doe@example.com",
        "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
        "tel:+1-816-555-1212",
        "news:comp.lang",
      ],
      ...[
        "ftp://user:pa%20ss@ftp.is.co.za/rfc",
        "ldap://[2001:db8::7]/c=GB?objectClass?one",
        "http://[v1.fe:d]/",
        "http://[::ffff:1.2.3.4]:80",
      ],
      ...[
        "file:///etc/passwd",
        "data:,A%20brief%20note",
        "x-scheme+1.2:a",
        "a:",
        "a:/b",
        "a:?q",
        "a:#f",
        "http://a//b",
        "http://xn--bcher-kva.de/",
      ],
    ],
    invalid: [
      ...[
        "//foo.bar/baz",
        "/abc",
        "abc",
        "",
        ":",
        "1a:b",
        "http:// a",
        "http://a b",
        "http://a/%zz",
        "http://a/%2",
        "http://a/[b]",
      ],
      ...[
        'http://a/"',
        "http://a/<b>",
        "http://a/{b}",
        "http://a\\b",
        "http://a^b",
        "http://a`b",
        "http://[::1",
        "http://[:]/",
        "bar,baz:foo",
      ],
      ...["http://a:b/", "http://a#b#c", "http://bücher.de/", "a:b\n"],
    ],
  },
  uuid: {
    valid: [
      "2eb8aa08-aa98-11ea-b4aa-73b441d16380",
      "00000000-0000-0000-0000-000000000000",
      "2EB8AA08-AA98-11EA-B4AA-73B441D16380",
    ],
    invalid: [
      "2eb8aa08-aa98-11ea-b4aa-73b441d1638",
      "2eb8aa08aa9811eab4aa73b441d16380",
      "2eb8aa08-aa98-11ea-b4ga-73b441d16380",
    ],
  },
};

describe.each(Object.entries(examples))("format %s", (format, { valid, invalid }) => {
  const automaton = new Automaton(compileSchema({ type: "string", format }));
  const accepts = (text: string) => automaton.read(automaton.start, Buffer.from(JSON.stringify(text)))?.whole === true;

  test("accepts strings that its RFC's grammar accepts", () => {
    expect(valid.filter((text) => !accepts(text))).toEqual([]);
  });

  test("rejects strings that its RFC's grammar rejects", () => {
    expect(invalid.filter(accepts)).toEqual([]);
  });
});
