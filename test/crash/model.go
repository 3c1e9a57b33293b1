// SPDX-License-Identifier: BSD-3-Clause
//
// What a client knows about the keys that only it writes. A model holds the state after all that
// was acknowledged. At a crash the commands that were sent and not answered are played on a copy:
// that gives each key a list of versions, and what the restarted server has must be one of them.
// Commands whose outcome is chance (SPOP, XADD *) leave a value that `lacks` or `gains` something.
//
// Times to live are known as the span in which the key must end, as the server's clock was read
// somewhere between sending and hearing.

package main

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// clockSlack, in ms: a server may use the time at which its tick began.
const clockSlack = 100

// span is when something expires, in Unix ms: not before `from`, not after `to`; zero: never.
type span struct {
	from, to int64
}

type value struct {
	kind       string            // what TYPE says
	text       string            // of a string; a stream's last id
	items      []string          // of a list; a stream's entries, "id field value"
	fields     map[string]string // set: "", hash: value, zset: score; stream: "group id" -> consumer
	groups     map[string]string // stream: name -> last delivered id
	until      span
	fieldUntil map[string]span
	lacks      int      // so many members are missing, nobody knows which
	gains      []string // entries with ids that nobody knows
}

func (v *value) clone() *value {
	if v == nil {
		return nil
	}
	c := *v
	c.items = append([]string(nil), v.items...)
	c.gains = append([]string(nil), v.gains...)
	c.fields = cloneWords(v.fields)
	c.groups = cloneWords(v.groups)
	c.fieldUntil = map[string]span{}
	for field, until := range v.fieldUntil {
		c.fieldUntil[field] = until
	}
	return &c
}

func cloneWords(from map[string]string) map[string]string {
	to := make(map[string]string, len(from))
	for key, word := range from {
		to[key] = word
	}
	return to
}

func (v *value) isEmpty() bool {
	return v.kind != "string" && v.kind != "stream" && len(v.items) == 0 && len(v.fields) == 0
}

func (v *value) String() string {
	if v == nil {
		return "nothing"
	}
	text := v.kind
	switch v.kind {
	case "string":
		text += " " + short(v.text)
	case "list":
		text += " " + short(strings.Join(v.items, " "))
	case "stream":
		text += fmt.Sprintf(" last %s entries [%s] groups %v pending %v", v.text,
			short(strings.Join(v.items, ", ")), v.groups, sortedWords(v.fields))
	default:
		text += " " + short(strings.Join(sortedWords(v.fields), " "))
	}
	if v.until.to != 0 {
		text += fmt.Sprintf(" until %d..%d", v.until.from, v.until.to)
	}
	for field, until := range v.fieldUntil {
		text += fmt.Sprintf(" %s until %d..%d", field, until.from, until.to)
	}
	if v.lacks != 0 || len(v.gains) != 0 {
		text += fmt.Sprintf(" less %d and with new %v", v.lacks, v.gains)
	}
	return text
}

func sortedWords(words map[string]string) []string {
	var list []string
	for key, word := range words {
		list = append(list, key+"="+word)
	}
	sort.Strings(list)
	return list
}

func short(text string) string {
	if len(text) <= 400 {
		return text
	}
	return fmt.Sprintf("%s...%s (%d bytes)", text[:150], text[len(text)-150:], len(text))
}

// ---- the model

type model struct {
	values  map[string]*value // "database/key"
	touched map[string]bool   // by the piece that is applied now
	events  map[string][]string
}

func newModel() *model {
	return &model{values: map[string]*value{}, touched: map[string]bool{},
		events: map[string][]string{}}
}

func (m *model) copy() *model {
	c := newModel()
	for key, v := range m.values {
		c.values[key] = v.clone()
	}
	return c
}

func (m *model) get(key string) *value {
	return m.values[key]
}

// edit returns the value to be changed; a new one if there is none.
func (m *model) edit(key, kind string) *value {
	m.touched[key] = true
	v := m.values[key]
	if v == nil {
		v = &value{kind: kind, fields: map[string]string{}, groups: map[string]string{},
			fieldUntil: map[string]span{}}
		if kind == "stream" {
			v.text = "0-0"
		}
		m.values[key] = v
	}
	return v
}

func (m *model) put(key string, v *value) {
	m.touched[key] = true
	if v == nil || v.isEmpty() {
		delete(m.values, key)
	} else {
		m.values[key] = v
	}
}

// tidy removes the key if nothing is left in it.
func (m *model) tidy(key string) {
	if v := m.values[key]; v != nil && v.isEmpty() {
		delete(m.values, key)
	}
}

// note keeps the last events of each key for a report.
func (m *model) note(event string) {
	for key := range m.touched {
		events := m.events[key]
		if len(events) >= 8 {
			events = append([]string(nil), events[1:]...)
		}
		m.events[key] = append(events, short(event))
	}
}

// ---- comparing

type certainty int

const (
	no certainty = iota
	maybe
	yes
)

// isOver tells whether this span has ended for a look between two moments.
func (s span) isOver(began, ended int64) certainty {
	switch {
	case s.to == 0 || s.from-clockSlack > ended:
		return no
	case s.to+clockSlack < began:
		return yes
	}
	return maybe
}

func (s span) holds(seen span) bool {
	if s.to == 0 || seen.to == 0 {
		return s.to == seen.to
	}
	return seen.from >= s.from-clockSlack && seen.to <= s.to+clockSlack
}

// look is what a server has, and when it was read.
type look struct {
	values       map[string]*value
	began, ended int64 // Unix ms
}

// explains tells whether `seen` can be what is left of v.
func (v *value) explains(seen *value, l *look) bool {
	if v == nil {
		return seen == nil
	}
	over := v.until.isOver(l.began, l.ended)
	if seen == nil {
		return over != no || v.mayBeEmpty(l)
	}
	if over == yes || v.kind != seen.kind || !v.until.holds(seen.until) {
		return false
	}
	switch v.kind {
	case "string":
		return v.text == seen.text
	case "list":
		return equalWords(v.items, seen.items)
	case "stream":
		return v.explainsStream(seen)
	}
	return v.explainsFields(seen, l)
}

func (v *value) mayBeEmpty(l *look) bool {
	if v.kind == "string" || v.kind == "stream" || len(v.items) != 0 {
		return false
	}
	left := len(v.fields) - v.lacks
	for _, until := range v.fieldUntil {
		if until.isOver(l.began, l.ended) != no {
			left--
		}
	}
	return left <= 0
}

func (v *value) explainsFields(seen *value, l *look) bool {
	missing := 0
	for field, word := range v.fields {
		got, isThere := seen.fields[field]
		until := v.fieldUntil[field]
		over := until.isOver(l.began, l.ended)
		switch {
		case !isThere && over == no:
			missing++
		case isThere && (got != word || over == yes || !until.holds(seen.fieldUntil[field])):
			return false
		}
	}
	for field := range seen.fields {
		if _, isThere := v.fields[field]; !isThere {
			return false
		}
	}
	return missing == v.lacks
}

func (v *value) explainsStream(seen *value) bool {
	known := len(seen.items) - len(v.gains)
	if known < 0 || !equalWords(v.items, seen.items[:known]) || !equalMaps(v.groups, seen.groups) ||
		!equalMaps(v.fields, seen.fields) {
		return false
	}
	if len(v.gains) == 0 {
		return v.text == seen.text
	}
	for i, gain := range v.gains {
		entry := strings.SplitN(seen.items[known+i], " ", 2)
		if entry[1] != gain || compareIDs(entry[0], v.text) <= 0 {
			return false
		}
	}
	return true
}

func equalWords(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func equalMaps(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for key, word := range a {
		if other, isThere := b[key]; !isThere || other != word {
			return false
		}
	}
	return true
}

func compareIDs(a, b string) int {
	for i := 0; i < 2; i++ {
		x, _ := strconv.ParseUint(strings.SplitN(a+"-0", "-", 3)[i], 10, 64)
		y, _ := strconv.ParseUint(strings.SplitN(b+"-0", "-", 3)[i], 10, 64)
		if x < y {
			return -1
		}
		if x > y {
			return 1
		}
	}
	return 0
}
