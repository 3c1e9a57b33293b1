// SPDX-License-Identifier: BSD-3-Clause
//
// A client of the mixed load: batches of units in one pipeline, each a command alone, in MULTI, or in a
// script with or without declared keys. `pending` is what was sent and not answered. After the
// crash, reconcile says of each of them whether the server has it, and what does not fit.

package main

import (
	"fmt"
	"math/rand"
	"reflect"
	"strconv"
	"strings"
)

const groupScript = `local replies, at = {}, 1
while at <= #ARGV do
  local count, words = tonumber(ARGV[at]), {}
  for i = 1, count do words[i] = ARGV[at + i] end
  replies[#replies + 1] = redis.pcall(unpack(words))
  at = at + count + 1
end
return replies`

// unit is what the server has to do whole or not at all.
type unit struct {
	way         string // plain, multi, script, undeclared
	pieces      []*piece
	claims      []claim // what it does to keys that all clients write
	sent, heard int64
}

type client struct {
	*world
	number   int
	database int
	isAlone  bool // in two databases of its own, which it empties and swaps
	prefix   string
	dice     *rand.Rand
	made     int
	conn     *conn
	model    *model
	pending  []*unit
}

func (u *unit) String() string {
	var texts []string
	for _, p := range u.pieces {
		texts = append(texts, short(strings.Join(p.words, " ")))
	}
	return fmt.Sprintf("%s {%s}", u.way, strings.Join(texts, "; "))
}

// ---- sending

func (u *unit) put(c *conn, sabotage string) {
	switch u.way {
	case "plain":
		c.put(u.pieces[0].words...)
	case "multi":
		c.put("MULTI")
		for i, p := range u.pieces {
			if sabotage == "torn" && i == 2 && len(u.claims) != 0 {
				c.put("PING")
				continue
			}
			c.put(p.words...)
		}
		c.put("EXEC")
	default:
		eval := []string{"EVAL", groupScript, "0"}
		if u.way == "script" {
			keys := u.keys()
			eval = append([]string{"EVAL", groupScript, strconv.Itoa(len(keys))}, keys...)
		}
		for _, p := range u.pieces {
			eval = append(eval, strconv.Itoa(len(p.words)))
			eval = append(eval, p.words...)
		}
		c.put(eval...)
	}
}

// keys returns every word that looks like a key.
func (u *unit) keys() []string {
	var keys []string
	for _, p := range u.pieces {
		for _, word := range p.words[1:] {
			if strings.Contains(word, ":") && len(word) < 20 {
				keys = append(keys, word)
			}
		}
	}
	return keys
}

// read returns one reply for each piece.
func (u *unit) read(c *conn) ([]reply, error) {
	skip := 0
	if u.way == "multi" {
		skip = len(u.pieces) + 1
	}
	var r reply
	var err error
	for i := 0; i <= skip && err == nil; i++ {
		r, err = c.read()
		if err == nil && r.kind == '-' && u.way != "plain" {
			err = fmt.Errorf("%s was answered -%s", u, r.text)
		}
	}
	if err != nil || u.way == "plain" {
		return []reply{r}, err
	}
	if len(r.items) != len(u.pieces) {
		return nil, fmt.Errorf("%s was answered %s", u, r)
	}
	return r.items, nil
}

// run is the life of a client in one round.
func (c *client) run() {
	for !c.isKilled() {
		c.pending = nil
		size := 1 + c.dice.Intn(8)
		for len(c.pending) < size {
			u := c.unit()
			c.pending = append(c.pending, u)
			if u.pieces[len(u.pieces)-1].isRandom {
				break
			}
		}
		now := unixMS()
		for i, u := range c.pending {
			u.sent = now
			if c.sabotage == "lost" && i == 0 && u.way != "multi" && c.dice.Intn(200) == 0 {
				c.conn.put("PING")
				continue
			}
			u.put(c.conn, c.sabotage)
		}
		c.note(c.pending)
		err := c.conn.flush()
		for err == nil && len(c.pending) != 0 {
			err = c.hear()
		}
		if err != nil {
			if !c.isKilled() && !c.isEnding() {
				c.violation("client %d: %v", c.number, err)
			}
			return
		}
	}
}

// hear reads the reply of the first pending unit.
func (c *client) hear() error {
	u := c.pending[0]
	replies, err := u.read(c.conn)
	if err != nil {
		return err
	}
	c.pending = c.pending[1:]
	u.heard = unixMS()
	for i, p := range u.pieces {
		if i >= len(replies) {
			break
		}
		if complaint := c.apply(c.model, p, &turn{&replies[i], u.sent, u.heard}); complaint != "" &&
			c.sabotage == "" {
			c.violation("client %d: %s %s\n%s", c.number, short(strings.Join(p.words, " ")), complaint,
				c.history(c.model))
		}
	}
	c.settle(u, replies)
	c.count(1)
	return nil
}

func (c *client) apply(m *model, p *piece, t *turn) string {
	m.touched = map[string]bool{}
	complaint := p.apply(m, t)
	m.note(fmt.Sprintf("%d..%d %s", t.sent, t.heard, strings.Join(p.words, " ")))
	return complaint
}

// history tells what happened to the keys that were touched last.
func (c *client) history(m *model) string {
	text := ""
	for path := range m.touched {
		text += fmt.Sprintf("  %s: %s\n    %s\n", path, m.get(path), strings.Join(m.events[path], "\n    "))
	}
	return text
}

// ---- making units

func (c *client) unit() *unit {
	a := &author{c}
	u := &unit{way: "plain"}
	if c.isAlone {
		switch n := c.dice.Intn(400); {
		case n < 2:
			u.pieces = []*piece{a.wipe()}
			return u
		case n < 4:
			u.pieces = []*piece{a.swap()}
			return u
		case n < 20:
			u.pieces = []*piece{a.move()}
			return u
		}
	} else if c.dice.Intn(3) == 0 {
		return c.sharedUnit(a)
	}
	if c.dice.Intn(3) == 0 {
		u.way = c.pickWay()
	}
	for n := 2 + c.dice.Intn(3); n > 0; n-- {
		p := a.piece()
		if p.isPlain && u.way != "plain" {
			continue
		}
		u.pieces = append(u.pieces, p)
		if p.isRandom || u.way == "plain" {
			break
		}
	}
	if len(u.pieces) == 0 {
		u.way, u.pieces = "plain", []*piece{a.piece()}
	}
	return u
}

// pickWay returns a way in which several commands are one unit.
func (c *client) pickWay() string {
	var ways []string
	if c.has("transactions") {
		ways = append(ways, "multi", "multi")
	}
	if c.has("scripts") {
		ways = append(ways, "script", "undeclared")
	}
	if len(ways) == 0 {
		return "plain"
	}
	return ways[c.dice.Intn(len(ways))]
}

// ---- after the crash

// version is a state in which a key may be; after is the number of pending units that made it.
type version struct {
	after int
	value *value
}

// versions plays the pending units on a copy of the model.
func (c *client) versions(crash int64) (map[string][]version, []map[string]bool) {
	m := c.model.copy()
	versions := map[string][]version{}
	var touched []map[string]bool
	for i, u := range c.pending {
		touches := map[string]bool{}
		for _, p := range u.pieces {
			m.touched = map[string]bool{}
			p.apply(m, &turn{nil, u.sent, crash})
			for path := range m.touched {
				touches[path] = true
			}
		}
		for path := range touches {
			if versions[path] == nil {
				versions[path] = []version{{0, c.model.get(path).clone()}}
			}
			list := versions[path]
			v := m.get(path).clone()
			if reflect.DeepEqual(list[len(list)-1].value, v) {
				delete(touches, path) // it says nothing of this unit
				continue
			}
			versions[path] = append(list, version{i + 1, v})
		}
		touched = append(touched, touches)
	}
	for path := range c.model.values {
		if versions[path] == nil {
			versions[path] = []version{{0, c.model.get(path)}}
		}
	}
	return versions, touched
}

// reconcile compares the client's keys with what the server has, makes that the new model, and
// returns which pending units the server did.
func (c *client) reconcile(l *look, crash int64) []certainty {
	versions, touched := c.versions(crash)
	least, most := map[string]int{}, map[string]int{} // of pending units that the key shows
	for path := range l.values {
		if c.owns(path) && versions[path] == nil {
			versions[path] = []version{{0, nil}}
		}
	}
	for path, list := range versions {
		least[path], most[path] = -1, -1
		for _, v := range list {
			if v.value.explains(l.values[path], l) {
				if least[path] < 0 {
					least[path] = v.after
				}
				most[path] = v.after
			}
		}
		if least[path] < 0 {
			c.violation("client %d: %s has %s\n%s", c.number, path, l.values[path],
				c.explain(path, list))
		}
	}
	fates := make([]certainty, len(c.pending))
	for i, u := range c.pending {
		fates[i] = c.fate(i, u, touched[i], least, most)
	}
	c.adopt(l)
	c.pending = nil
	return fates
}

// fate tells whether the server did pending unit i.
func (c *client) fate(i int, u *unit, touched map[string]bool, least, most map[string]int) certainty {
	with, without := "", ""
	for path := range touched {
		switch {
		case least[path] < 0: // reported already
			return maybe
		case least[path] > i:
			with = path
		case most[path] <= i:
			without = path
		}
	}
	switch {
	case with != "" && without != "":
		c.violation("client %d: torn: %s shows in %s and not in %s", c.number, u, with, without)
	case with != "":
		return yes
	case without != "":
		return no
	}
	return maybe
}

func (c *client) explain(path string, list []version) string {
	text := "  acknowledged:\n    " + strings.Join(c.model.events[path], "\n    ")
	for _, v := range list {
		after := "that leaves"
		if v.after > 0 {
			after = "after the unanswered " + c.pending[v.after-1].String() + ", or what it does here"
		}
		text += fmt.Sprintf("\n  %s:\n    %s", after, v.value)
	}
	return text
}

func (c *client) owns(path string) bool {
	at := strings.Index(path, "/")
	database, _ := strconv.Atoi(path[:at])
	if c.isAlone {
		return database == c.database || database == c.database+1
	}
	return database == c.database && strings.HasPrefix(path[at+1:], c.prefix)
}

func (c *client) adopt(l *look) {
	fresh := newModel()
	for path, v := range l.values {
		if c.owns(path) {
			fresh.values[path] = v.clone()
			fresh.events[path] = []string{"found " + v.String()}
		}
	}
	c.model = fresh
}
