// SPDX-License-Identifier: BSD-3-Clause
//
// The commands of the load, on keys that only their client writes: what is sent, and what it does
// to the client's model. An apply function gets the reply, or none if the crash came first, and
// returns what is wrong with the reply.

package main

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

const (
	streamGroup = "readers"
	hour        = 3600 * 1000
)

// turn is what is known of one command's run.
type turn struct {
	reply       *reply // nil: not answered
	sent, heard int64  // Unix ms; heard is the crash's time if it was not answered
}

type piece struct {
	words    []string
	apply    func(m *model, t *turn) string
	isRandom bool // its outcome is not known before the reply
	isPlain  bool // not in a script
}

// want compares a reply with what it has to be.
func (t *turn) want(text string) string {
	if t.reply == nil || t.reply.String() == text {
		return ""
	}
	return fmt.Sprintf("answered %s, not %s", short(t.reply.String()+t.reply.text), short(text))
}

func (t *turn) wantNumber(n int) string {
	return t.want(":" + strconv.Itoa(n))
}

func (t *turn) in(ms int) span {
	return span{t.sent + int64(ms), t.heard + int64(ms)}
}

// author makes up the commands of one client.
type author struct {
	*client
}

type maker struct {
	weight int
	make   func(a *author) *piece
}

var makers []maker

func init() {
	makers = append(makers, stringMakers...)
	makers = append(makers, listMakers...)
	makers = append(makers, setMakers...)
	makers = append(makers, hashMakers...)
	makers = append(makers, zsetMakers...)
	makers = append(makers, streamMakers...)
	makers = append(makers, keyMakers...)
}

func (a *author) piece() *piece {
	total := 0
	for _, m := range makers {
		total += m.weight
	}
	for {
		n := a.dice.Intn(total)
		for _, m := range makers {
			if n -= m.weight; n < 0 {
				if p := m.make(a); p != nil {
					return p
				}
				break
			}
		}
	}
}

// word is unique over all clients and rounds; now and then it is long.
func (a *author) word() string {
	a.made++
	text := fmt.Sprintf("%d.%d", a.number, a.made)
	switch a.dice.Intn(max(4, a.longWords)) {
	case 0:
		return text + strings.Repeat("-", 1+a.dice.Intn(100000))
	case 1, 2, 3:
		return text + strings.Repeat("=", 1+a.dice.Intn(2000))
	}
	return text
}

// key is one of n keys of a kind; path is its name in the model.
func (a *author) key(kind string, n int) string {
	return fmt.Sprintf("%s%s%d", a.prefix, kind, a.dice.Intn(n))
}

func (a *author) path(key string) string {
	return fmt.Sprintf("%d/%s", a.database, key)
}

func words(text string, more ...string) []string {
	return append(strings.Fields(text), more...)
}

// ---- strings

// update makes a piece that changes one value and has a reply.
func (a *author) update(kind, key string, words []string,
	change func(v *value, t *turn) (reply string)) *piece {
	path := a.path(key)
	return &piece{words: words, apply: func(m *model, t *turn) string {
		v := m.edit(path, kind)
		want := change(v, t)
		m.tidy(path)
		if want == "" {
			return ""
		}
		return t.want(want)
	}}
}

var stringMakers = []maker{
	{12, func(a *author) *piece {
		key, word := a.key("s", 12), a.word()
		return a.update("string", key, words("SET", key, word), func(v *value, t *turn) string {
			v.text, v.until = word, span{}
			return "+OK"
		})
	}},
	{3, func(a *author) *piece { // it will be gone soon
		key, word, ms := a.key("soon", 6), a.word(), 1+a.dice.Intn(1500)
		return a.update("string", key, words("SET", key, word, "PX", strconv.Itoa(ms)),
			func(v *value, t *turn) string {
				v.text, v.until = word, t.in(ms)
				return "+OK"
			})
	}},
	{2, func(a *author) *piece {
		key, word, s := a.key("s", 12), a.word(), 3600+a.dice.Intn(100)
		return a.update("string", key, words("SETEX", key, strconv.Itoa(s), word),
			func(v *value, t *turn) string {
				v.text, v.until = word, t.in(1000*s)
				return "+OK"
			})
	}},
	{6, func(a *author) *piece {
		key := a.key("n", 4)
		return a.update("string", key, words("INCR", key), func(v *value, t *turn) string {
			n, _ := strconv.Atoi(v.text)
			v.text = strconv.Itoa(n + 1)
			return ":" + v.text
		})
	}},
	{2, func(a *author) *piece {
		key, step := a.key("f", 2), float64(a.dice.Intn(40))/4
		text := strconv.FormatFloat(step, 'f', -1, 64)
		return a.update("string", key, words("INCRBYFLOAT", key, text),
			func(v *value, t *turn) string {
				n, _ := strconv.ParseFloat(v.text, 64)
				v.text = strconv.FormatFloat(n+step, 'f', -1, 64)
				return "$" + v.text
			})
	}},
	{4, func(a *author) *piece {
		key, word := a.key("s", 12), a.word()
		return a.update("string", key, words("APPEND", key, word), func(v *value, t *turn) string {
			v.text += word
			return ":" + strconv.Itoa(len(v.text))
		})
	}},
	{2, func(a *author) *piece {
		key, word := a.key("s", 12), a.word()
		return a.update("string", key, words("GETSET", key, word), func(v *value, t *turn) string {
			old := "$" + v.text
			if v.text == "" {
				old = "nil"
			}
			v.text, v.until = word, span{}
			return old
		})
	}},
	{1, func(a *author) *piece {
		key, word := a.key("s", 12), a.word()
		return a.update("string", key, words("SETRANGE", key, "3", word),
			func(v *value, t *turn) string {
				head := (v.text + "\x00\x00\x00")[:3]
				tail := ""
				if len(v.text) > 3+len(word) {
					tail = v.text[3+len(word):]
				}
				v.text = head + word + tail
				return ":" + strconv.Itoa(len(v.text))
			})
	}},
	{1, func(a *author) *piece {
		key := a.key("s", 12)
		path := a.path(key)
		return &piece{words: words("GETDEL", key), apply: func(m *model, t *turn) string {
			v := m.get(path)
			m.put(path, nil)
			if v == nil {
				return t.want("nil")
			}
			return t.want("$" + v.text)
		}}
	}},
	{3, func(a *author) *piece { // as many keys as there are shards, and more
		set := []string{"MSET"}
		values := map[string]string{}
		for n := 2 + a.dice.Intn(5); n > 0; n-- {
			key, word := a.key("s", 12), a.word()
			set = append(set, key, word)
			values[a.path(key)] = word
		}
		return &piece{words: set, apply: func(m *model, t *turn) string {
			for path, word := range values {
				v := m.edit(path, "string")
				v.text, v.until = word, span{}
			}
			return t.want("+OK")
		}}
	}},
}

// ---- lists

var listMakers = []maker{
	{8, func(a *author) *piece {
		key, count := a.key("l", 6), 1+a.dice.Intn(3)
		side := []string{"RPUSH", "LPUSH"}[a.dice.Intn(2)]
		push := []string{side, key}
		for ; count > 0; count-- {
			push = append(push, a.word())
		}
		return a.update("list", key, push, func(v *value, t *turn) string {
			for _, word := range push[2:] {
				if side == "RPUSH" {
					v.items = append(v.items, word)
				} else {
					v.items = append([]string{word}, v.items...)
				}
			}
			return ":" + strconv.Itoa(len(v.items))
		})
	}},
	{7, func(a *author) *piece {
		key := a.key("l", 6)
		side := []string{"LPOP", "RPOP"}[a.dice.Intn(2)]
		return a.update("list", key, words(side, key), func(v *value, t *turn) string {
			return v.pop(side == "LPOP")
		})
	}},
	{6, func(a *author) *piece {
		from, to := a.key("l", 6), a.key("l", 6)
		sides := []string{"LEFT", "RIGHT"}
		out, in := a.dice.Intn(2), a.dice.Intn(2)
		return &piece{words: words("LMOVE", from, to, sides[out], sides[in]),
			apply: func(m *model, t *turn) string {
				if m.get(a.path(from)) == nil {
					return t.want("nil")
				}
				word := m.edit(a.path(from), "list").pop(out == 0)
				target := m.edit(a.path(to), "list")
				if in == 0 {
					target.items = append([]string{word[1:]}, target.items...)
				} else {
					target.items = append(target.items, word[1:])
				}
				m.tidy(a.path(from))
				return t.want(word)
			}}
	}},
	{2, func(a *author) *piece {
		key, word := a.key("l", 6), a.word()
		path := a.path(key)
		return &piece{words: words("LSET", key, "0", word), apply: func(m *model, t *turn) string {
			if m.get(path) == nil {
				return t.want("-ERR")
			}
			m.edit(path, "list").items[0] = word
			return t.want("+OK")
		}}
	}},
	{2, func(a *author) *piece {
		key := a.key("l", 6)
		return a.update("list", key, words("LTRIM", key, "0", "19"),
			func(v *value, t *turn) string {
				if len(v.items) > 20 {
					v.items = v.items[:20]
				}
				return "+OK"
			})
	}},
}

// pop takes an element off and returns the reply.
func (v *value) pop(isLeft bool) string {
	if len(v.items) == 0 {
		return "nil"
	}
	if isLeft {
		word := v.items[0]
		v.items = append([]string(nil), v.items[1:]...)
		return "$" + word
	}
	word := v.items[len(v.items)-1]
	v.items = v.items[:len(v.items)-1]
	return "$" + word
}

// ---- sets

var setMakers = []maker{
	{6, func(a *author) *piece {
		key, word := a.key("set", 4), a.word()
		if a.dice.Intn(2) == 0 {
			word = strconv.Itoa(a.dice.Intn(60))
		}
		return a.update("set", key, words("SADD", key, word), func(v *value, t *turn) string {
			_, isThere := v.fields[word]
			v.fields[word] = ""
			return map[bool]string{true: ":0", false: ":1"}[isThere]
		})
	}},
	{3, func(a *author) *piece {
		key, word := a.key("set", 4), strconv.Itoa(a.dice.Intn(60))
		return a.update("set", key, words("SREM", key, word), func(v *value, t *turn) string {
			_, isThere := v.fields[word]
			delete(v.fields, word)
			return map[bool]string{true: ":1", false: ":0"}[isThere]
		})
	}},
	{4, func(a *author) *piece {
		key, count := a.key("set", 4), 1+a.dice.Intn(2)
		p := a.update("set", key, words("SPOP", key, strconv.Itoa(count)),
			func(v *value, t *turn) string {
				least := count
				if least > len(v.fields) {
					least = len(v.fields)
				}
				if t.reply == nil {
					v.lacks += least
					return ""
				}
				if len(t.reply.items) != least {
					return fmt.Sprintf("[%d members]", least)
				}
				for _, member := range t.reply.items {
					if _, isThere := v.fields[member.text]; !isThere {
						return "a member of " + v.String()
					}
					delete(v.fields, member.text)
				}
				return ""
			})
		p.isRandom = true
		return p
	}},
	{3, func(a *author) *piece {
		from, to, word := a.key("set", 4), a.key("set", 4), strconv.Itoa(a.dice.Intn(60))
		return &piece{words: words("SMOVE", from, to, word), apply: func(m *model, t *turn) string {
			v := m.get(a.path(from))
			if v == nil {
				return t.want(":0")
			}
			if _, isThere := v.fields[word]; !isThere {
				return t.want(":0")
			}
			delete(m.edit(a.path(from), "set").fields, word)
			m.edit(a.path(to), "set").fields[word] = ""
			m.tidy(a.path(from))
			return t.want(":1")
		}}
	}},
	{2, func(a *author) *piece {
		target, one, two := a.key("set", 4), a.key("set", 4), a.key("set", 4)
		return &piece{words: words("SUNIONSTORE", target, one, two),
			apply: func(m *model, t *turn) string {
				sum := &value{kind: "set", fields: map[string]string{}, groups: map[string]string{},
					fieldUntil: map[string]span{}}
				for _, key := range []string{one, two} {
					if v := m.get(a.path(key)); v != nil {
						for member := range v.fields {
							sum.fields[member] = ""
						}
					}
				}
				m.put(a.path(target), sum)
				return t.wantNumber(len(sum.fields))
			}}
	}},
}

// ---- hashes

var hashMakers = []maker{
	{7, func(a *author) *piece {
		key, name, word := a.key("h", 4), a.key("field", 20), a.word()
		return a.update("hash", key, words("HSET", key, name, word),
			func(v *value, t *turn) string {
				_, isThere := v.fields[name]
				v.fields[name] = word
				delete(v.fieldUntil, name)
				return map[bool]string{true: ":0", false: ":1"}[isThere]
			})
	}},
	{3, func(a *author) *piece {
		key, name := a.key("h", 4), a.key("field", 20)
		return a.update("hash", key, words("HDEL", key, name), func(v *value, t *turn) string {
			_, isThere := v.fields[name]
			delete(v.fields, name)
			delete(v.fieldUntil, name)
			return map[bool]string{true: ":1", false: ":0"}[isThere]
		})
	}},
	{4, func(a *author) *piece {
		key, name, step := a.key("h", 4), a.key("count", 5), 1+a.dice.Intn(9)
		return a.update("hash", key, words("HINCRBY", key, name, strconv.Itoa(step)),
			func(v *value, t *turn) string {
				n, _ := strconv.Atoi(v.fields[name])
				v.fields[name] = strconv.Itoa(n + step)
				return ":" + v.fields[name]
			})
	}},
	{2, func(a *author) *piece {
		if !a.world.knowsFieldTTL {
			return nil
		}
		key, name, s := a.key("h", 4), a.key("field", 20), 3600+a.dice.Intn(100)
		path := a.path(key)
		return &piece{words: words("HEXPIRE", key, strconv.Itoa(s), "FIELDS", "1", name),
			apply: func(m *model, t *turn) string {
				v := m.get(path)
				if v == nil {
					return t.want("[:-2]")
				}
				if _, isThere := v.fields[name]; !isThere {
					return t.want("[:-2]")
				}
				m.edit(path, "hash").fieldUntil[name] = t.in(1000 * s)
				return t.want("[:1]")
			}}
	}},
	{1, func(a *author) *piece { // fields that will be gone soon; one script, or a crash may part them
		if !a.world.knowsFieldTTL {
			return nil
		}
		key, name, word, ms := a.key("hsoon", 2), a.key("field", 4), a.word(), 1+a.dice.Intn(1500)
		const script = "redis.call('HSET',KEYS[1],ARGV[1],ARGV[2])" +
			"return redis.call('HPEXPIRE',KEYS[1],ARGV[3],'FIELDS',1,ARGV[1])"
		p := a.update("hash", key, words("EVAL", script, "1", key, name, word, strconv.Itoa(ms)),
			func(v *value, t *turn) string {
				v.fields[name] = word
				v.fieldUntil[name] = t.in(ms)
				return "[:1]"
			})
		p.isPlain = true
		return p
	}},
	{1, func(a *author) *piece {
		if !a.world.knowsFieldTTL {
			return nil
		}
		key, name := a.key("h", 4), a.key("field", 20)
		path := a.path(key)
		return &piece{words: words("HPERSIST", key, "FIELDS", "1", name),
			apply: func(m *model, t *turn) string {
				if v := m.get(path); v != nil && v.fieldUntil[name].to != 0 {
					delete(m.edit(path, "hash").fieldUntil, name)
				}
				return ""
			}}
	}},
}

// ---- sorted sets

var zsetMakers = []maker{
	{6, func(a *author) *piece {
		key, word, score := a.key("z", 4), strconv.Itoa(a.dice.Intn(80)), a.dice.Intn(1000)
		return a.update("zset", key, words("ZADD", key, strconv.Itoa(score), word),
			func(v *value, t *turn) string {
				_, isThere := v.fields[word]
				v.fields[word] = strconv.Itoa(score)
				return map[bool]string{true: ":0", false: ":1"}[isThere]
			})
	}},
	{3, func(a *author) *piece {
		key, word, step := a.key("z", 4), strconv.Itoa(a.dice.Intn(80)), 1+a.dice.Intn(9)
		return a.update("zset", key, words("ZINCRBY", key, strconv.Itoa(step), word),
			func(v *value, t *turn) string {
				n, _ := strconv.Atoi(v.fields[word])
				v.fields[word] = strconv.Itoa(n + step)
				return "$" + v.fields[word]
			})
	}},
	{3, func(a *author) *piece {
		key := a.key("z", 4)
		return a.update("zset", key, words("ZPOPMIN", key), func(v *value, t *turn) string {
			members := v.ranked()
			if len(members) == 0 {
				return "[]"
			}
			score := v.fields[members[0]]
			delete(v.fields, members[0])
			return "[$" + members[0] + " $" + score + "]"
		})
	}},
	{1, func(a *author) *piece {
		target, from := a.key("z", 4), a.key("z", 4)
		return &piece{words: words("ZRANGESTORE", target, from, "0", "9"),
			apply: func(m *model, t *turn) string {
				v := m.get(a.path(from)).clone()
				if v != nil {
					for _, member := range v.ranked()[min(10, len(v.fields)):] {
						delete(v.fields, member)
					}
					v.until = span{}
				}
				m.put(a.path(target), v)
				if v == nil {
					return t.want(":0")
				}
				return t.wantNumber(len(v.fields))
			}}
	}},
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

// ranked returns the members in order.
func (v *value) ranked() []string {
	var members []string
	for member := range v.fields {
		members = append(members, member)
	}
	score := func(member string) int {
		n, _ := strconv.Atoi(v.fields[member])
		return n
	}
	sort.Slice(members, func(i, j int) bool {
		if score(members[i]) != score(members[j]) {
			return score(members[i]) < score(members[j])
		}
		return members[i] < members[j]
	})
	return members
}

// ---- streams

var streamMakers = []maker{
	{7, func(a *author) *piece {
		key, word := a.key("x", 3), a.word()
		p := a.update("stream", key, words("XADD", key, "*", "f", word),
			func(v *value, t *turn) string {
				if t.reply == nil {
					v.gains = append(v.gains, "f "+word)
					return ""
				}
				if compareIDs(t.reply.text, v.text) <= 0 {
					return "an id above " + v.text
				}
				v.text = t.reply.text
				v.items = append(v.items, v.text+" f "+word)
				return ""
			})
		p.isRandom = true
		return p
	}},
	{2, func(a *author) *piece {
		key := a.key("x", 3)
		path := a.path(key)
		return &piece{words: words("XTRIM", key, "MAXLEN", "=", "15"),
			apply: func(m *model, t *turn) string {
				v := m.get(path)
				if v == nil || len(v.items) <= 15 {
					return t.want(":0")
				}
				v = m.edit(path, "stream")
				cut := len(v.items) - 15
				v.items = v.items[cut:]
				return t.wantNumber(cut)
			}}
	}},
	{1, func(a *author) *piece {
		key := a.key("x", 3)
		path := a.path(key)
		v := a.model.get(path)
		if v == nil || len(v.items) == 0 {
			return nil
		}
		id := strings.Fields(v.items[a.dice.Intn(len(v.items))])[0]
		return &piece{words: words("XDEL", key, id), apply: func(m *model, t *turn) string {
			v := m.get(path)
			if v == nil || v.entry(id) < 0 {
				return t.want(":0")
			}
			v = m.edit(path, "stream")
			at := v.entry(id)
			v.items = append(append([]string(nil), v.items[:at]...), v.items[at+1:]...)
			return t.want(":1")
		}}
	}},
	{3, func(a *author) *piece {
		key := a.key("x", 3)
		path := a.path(key)
		return &piece{words: words("XGROUP CREATE", key, streamGroup, "0", "MKSTREAM"),
			apply: func(m *model, t *turn) string {
				if v := m.get(path); v != nil && v.groups[streamGroup] != "" {
					return t.want("-BUSYGROUP")
				}
				m.edit(path, "stream").groups[streamGroup] = "0-0"
				return t.want("+OK")
			}}
	}},
	{5, func(a *author) *piece {
		key, consumer := a.key("x", 3), a.key("reader", 3)
		path := a.path(key)
		return &piece{words: words("XREADGROUP GROUP", streamGroup, consumer, "COUNT", "2", "STREAMS",
			key, ">"), apply: func(m *model, t *turn) string {
			v := m.get(path)
			if v == nil || v.groups[streamGroup] == "" {
				return t.want("-NOGROUP")
			}
			v = m.edit(path, "stream")
			var ids []string
			for _, item := range v.items {
				id := strings.Fields(item)[0]
				if compareIDs(id, v.groups[streamGroup]) > 0 && len(ids) < 2 {
					ids = append(ids, id)
				}
			}
			for _, id := range ids {
				v.groups[streamGroup] = id
				v.fields[streamGroup+" "+id] = consumer
			}
			if len(ids) == 0 {
				return t.want("nil")
			}
			return ""
		}}
	}},
	{3, func(a *author) *piece {
		key := a.key("x", 3)
		path := a.path(key)
		v := a.model.get(path)
		if v == nil || len(v.fields) == 0 {
			return nil
		}
		pending := sortedWords(v.fields)
		name := strings.Split(pending[a.dice.Intn(len(pending))], "=")[0]
		id := strings.Fields(name)[1]
		return &piece{words: words("XACK", key, streamGroup, id),
			apply: func(m *model, t *turn) string {
				v := m.get(path)
				if v == nil || v.fields[name] == "" {
					return t.want(":0")
				}
				delete(m.edit(path, "stream").fields, name)
				return t.want(":1")
			}}
	}},
	{1, func(a *author) *piece {
		key, consumer := a.key("x", 3), a.key("reader", 3)
		path := a.path(key)
		v := a.model.get(path)
		if v == nil || len(v.items) == 0 {
			return nil
		}
		id := strings.Fields(v.items[0])[0]
		name := streamGroup + " " + id
		return &piece{words: words("XCLAIM", key, streamGroup, consumer, "0", id, "JUSTID"),
			apply: func(m *model, t *turn) string {
				v := m.get(path)
				if v == nil || v.groups[streamGroup] == "" {
					return t.want("-NOGROUP")
				}
				if v.fields[name] == "" {
					return t.want("[]")
				}
				if v.entry(id) < 0 {
					delete(m.edit(path, "stream").fields, name)
					return t.want("[]")
				}
				m.edit(path, "stream").fields[name] = consumer
				return t.want("[$" + id + "]")
			}}
	}},
}

// entry returns the position of an entry of a stream, or -1.
func (v *value) entry(id string) int {
	for i, item := range v.items {
		if strings.Fields(item)[0] == id {
			return i
		}
	}
	return -1
}

// ---- keys

// kinds of keys that never expire soon, and how many there are of each.
var kinds = []struct {
	name  string
	count int
}{{"s", 12}, {"l", 6}, {"set", 4}, {"h", 4}, {"z", 4}, {"x", 3}}

var keyMakers = []maker{
	{2, func(a *author) *piece {
		del := []string{[]string{"DEL", "UNLINK"}[a.dice.Intn(2)]}
		for n := 1 + a.dice.Intn(3); n > 0; n-- {
			kind := kinds[a.dice.Intn(len(kinds))]
			del = append(del, a.key(kind.name, kind.count))
		}
		return &piece{words: del, apply: func(m *model, t *turn) string {
			count := 0
			for _, key := range del[1:] {
				if m.get(a.path(key)) != nil {
					count++
				}
				m.put(a.path(key), nil)
			}
			return t.wantNumber(count)
		}}
	}},
	{4, func(a *author) *piece {
		kind := kinds[a.dice.Intn(len(kinds))]
		from, to := a.key(kind.name, kind.count), a.key(kind.name, kind.count)
		return &piece{words: words("RENAME", from, to), apply: func(m *model, t *turn) string {
			v := m.get(a.path(from))
			if v == nil {
				return t.want("-ERR")
			}
			m.put(a.path(from), nil)
			m.put(a.path(to), v)
			return t.want("+OK")
		}}
	}},
	{2, func(a *author) *piece {
		kind := kinds[a.dice.Intn(len(kinds))]
		from, to := a.key(kind.name, kind.count), a.key(kind.name, kind.count)
		if from == to {
			return nil
		}
		return &piece{words: words("COPY", from, to, "REPLACE"),
			apply: func(m *model, t *turn) string {
				v := m.get(a.path(from))
				if v == nil {
					return t.want(":0")
				}
				m.put(a.path(to), v.clone())
				return t.want(":1")
			}}
	}},
	{4, func(a *author) *piece {
		kind := kinds[a.dice.Intn(len(kinds))]
		key, ms := a.key(kind.name, kind.count), hour+a.dice.Intn(hour)
		path := a.path(key)
		return &piece{words: words("PEXPIRE", key, strconv.Itoa(ms)),
			apply: func(m *model, t *turn) string {
				v := m.get(path)
				if v == nil {
					return t.want(":0")
				}
				m.edit(path, v.kind).until = t.in(ms)
				return t.want(":1")
			}}
	}},
	{2, func(a *author) *piece {
		kind := kinds[a.dice.Intn(len(kinds))]
		key := a.key(kind.name, kind.count)
		path := a.path(key)
		return &piece{words: words("PERSIST", key), apply: func(m *model, t *turn) string {
			v := m.get(path)
			if v == nil || v.until.to == 0 {
				return t.want(":0")
			}
			m.edit(path, v.kind).until = span{}
			return t.want(":1")
		}}
	}},
}

// wipe is FLUSHDB of the client's own database; swap and move take its two databases.
func (a *author) wipe() *piece {
	return &piece{words: words("FLUSHDB"), isPlain: true, apply: func(m *model, t *turn) string {
		for path := range m.values {
			if strings.HasPrefix(path, strconv.Itoa(a.database)+"/") {
				m.put(path, nil)
			}
		}
		return t.want("+OK")
	}}
}

func (a *author) swap() *piece {
	one, two := strconv.Itoa(a.database), strconv.Itoa(a.database+1)
	return &piece{words: words("SWAPDB", one, two), isPlain: true,
		apply: func(m *model, t *turn) string {
			swapped := map[string]*value{}
			for path, v := range m.values {
				at := strings.Index(path, "/")
				to := map[string]string{one: two, two: one}[path[:at]]
				swapped[to+path[at:]] = v
			}
			for path := range m.values {
				m.put(path, swapped[path])
			}
			for path, v := range swapped {
				m.put(path, v)
			}
			return t.want("+OK")
		}}
}

func (a *author) move() *piece {
	kind := kinds[a.dice.Intn(len(kinds))]
	key := a.key(kind.name, kind.count)
	from, to := a.path(key), fmt.Sprintf("%d/%s", a.database+1, key)
	return &piece{words: words("MOVE", key, strconv.Itoa(a.database+1)), isPlain: true,
		apply: func(m *model, t *turn) string {
			v := m.get(from)
			if v == nil || m.get(to) != nil {
				return t.want(":0")
			}
			m.put(from, nil)
			m.put(to, v)
			return t.want(":1")
		}}
}
