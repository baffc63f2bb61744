
# JSON without jq: one line for each value, its path, a tab, and itself. `{"a":{"b":[1,"x"]}}` becomes `.a.b[0]` 1 and `.a.b[1]` x.
flatten() {
    LC_ALL=C awk '
    function fail() { bad = 1; p = n + 1 }
    function space() { while (substr(s, p, 1) ~ /[ \t\n\r]/) p++ }
    function text(    c, start) {
        start = ++p
        while ((c = substr(s, p, 1)) != "\"") {
            if (c == "") { fail(); return "" }
            p += (c == "\\") ? 2 : 1
        }
        return substr(s, start, p++ - start)
    }
    function value(path,    c, key, i, start) {
        space(); c = substr(s, p, 1)
        if (c == "{") {
            p++; space()
            if (substr(s, p, 1) == "}") { p++; print path "\t{}"; return }
            while (!bad) {
                space(); if (substr(s, p, 1) != "\"") { fail(); return }
                key = text(); space()
                if (substr(s, p++, 1) != ":") { fail(); return }
                value(path "." key); space(); c = substr(s, p++, 1)
                if (c == "}") return
                if (c != ",") fail()
            }
        } else if (c == "[") {
            p++; space()
            if (substr(s, p, 1) == "]") { p++; print path "\t[]"; return }
            for (i = 0; !bad; i++) {
                value(path "[" i "]"); space(); c = substr(s, p++, 1)
                if (c == "]") return
                if (c != ",") fail()
            }
        } else if (c == "\"") {
            print path "\t" text()
        } else {
            start = p
            while (substr(s, p, 1) ~ /[-+.0-9A-Za-z]/) p++
            if (p == start) { fail(); return }
            print path "\t" substr(s, start, p - start)
        }
    }
    { s = s $0 "\n" }
    END { n = length(s); p = 1; value(""); space(); if (bad || p <= n) print "!\tnot JSON" }'
}

# json PATH [FILE]: the value there; nothing if there is none.
json() {
    local line
    while IFS= read -r line; do
        if [ "${line%%$TAB*}" = "$1" ]; then
            printf '%s\n' "${line#*$TAB}"
            return
        fi
    done <"${2:-$FLAT}"
}
