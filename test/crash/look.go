// SPDX-License-Identifier: BSD-3-Clause
//
// Reading everything that a server has, in the form of model.go.

package main

import (
	"fmt"
	"strconv"
	"time"
)

const (
	databases = 16
	scanBatch = 500
)

func unixMS() int64 {
	return time.Now().UnixNano() / int64(time.Millisecond)
}

// readAll returns the whole data set. knowsFieldTTL: the server has HPEXPIRETIME.
func readAll(c *conn, knowsFieldTTL bool) (*look, error) {
	l := &look{values: map[string]*value{}, began: unixMS()}
	for database := 0; database < databases; database++ {
		if _, err := ask(c, "SELECT", strconv.Itoa(database)); err != nil {
			return nil, err
		}
		keys, err := ask(c, "KEYS", "*")
		if err != nil {
			return nil, err
		}
		for at := 0; at < len(keys.items); at += scanBatch {
			end := at + scanBatch
			if end > len(keys.items) {
				end = len(keys.items)
			}
			if err := l.readKeys(c, database, keys.items[at:end], knowsFieldTTL); err != nil {
				return nil, err
			}
		}
	}
	l.ended = unixMS()
	_, err := ask(c, "SELECT", "0")
	return l, err
}

// ask is do where an error reply is an error.
func ask(c *conn, words ...string) (reply, error) {
	r, err := c.do(words...)
	if err == nil && r.kind == '-' {
		err = fmt.Errorf("%v: %s", words, r.text)
	}
	return r, err
}

// askAll sends all commands at once.
func askAll(c *conn, commands [][]string) ([]reply, error) {
	for _, words := range commands {
		c.put(words...)
	}
	if err := c.flush(); err != nil {
		return nil, err
	}
	replies := make([]reply, len(commands))
	for i := range replies {
		r, err := c.read()
		if err != nil {
			return nil, err
		}
		replies[i] = r
	}
	return replies, nil
}

var readers = map[string]func(key string) [][]string{
	"string": func(key string) [][]string { return [][]string{{"GET", key}} },
	"list":   func(key string) [][]string { return [][]string{{"LRANGE", key, "0", "-1"}} },
	"set":    func(key string) [][]string { return [][]string{{"SMEMBERS", key}} },
	"hash":   func(key string) [][]string { return [][]string{{"HGETALL", key}} },
	"zset":   func(key string) [][]string { return [][]string{{"ZRANGE", key, "0", "-1", "WITHSCORES"}} },
	"stream": func(key string) [][]string {
		return [][]string{{"XRANGE", key, "-", "+"}, {"XINFO", "STREAM", key}, {"XINFO", "GROUPS", key},
			{"XPENDING", key, streamGroup, "-", "+", "10000"}}
	},
}

func (l *look) readKeys(c *conn, database int, keys []reply, knowsFieldTTL bool) error {
	var commands [][]string
	for _, key := range keys {
		commands = append(commands, []string{"TYPE", key.text}, []string{"PEXPIRETIME", key.text})
	}
	heads, err := askAll(c, commands)
	if err != nil {
		return err
	}
	commands = nil
	var counts []int
	for i, key := range keys {
		reader := readers[heads[2*i].text]
		if reader == nil { // expired meanwhile
			counts = append(counts, 0)
			continue
		}
		asks := reader(key.text)
		counts = append(counts, len(asks))
		commands = append(commands, asks...)
	}
	bodies, err := askAll(c, commands)
	if err != nil {
		return err
	}
	for i, key := range keys {
		body := bodies[:counts[i]]
		bodies = bodies[counts[i]:]
		if len(body) == 0 || body[0].kind == '-' || body[0].isNil {
			continue
		}
		v := readValue(heads[2*i].text, body)
		if at := heads[2*i+1].number(); at > 0 {
			v.until = span{at, at}
		}
		if v.isEmpty() {
			continue
		}
		if v.kind == "hash" && knowsFieldTTL {
			if err := v.readFieldTTLs(c, key.text); err != nil {
				return err
			}
		}
		l.values[fmt.Sprintf("%d/%s", database, key.text)] = v
	}
	return nil
}

func readValue(kind string, body []reply) *value {
	v := &value{kind: kind, text: body[0].text, fields: map[string]string{},
		groups: map[string]string{}, fieldUntil: map[string]span{}}
	items := body[0].items
	switch kind {
	case "list":
		for _, item := range items {
			v.items = append(v.items, item.text)
		}
	case "set":
		for _, item := range items {
			v.fields[item.text] = ""
		}
	case "hash", "zset":
		for i := 0; i+1 < len(items); i += 2 {
			v.fields[items[i].text] = items[i+1].text
		}
	case "stream":
		v.readStream(body)
	}
	return v
}

func (v *value) readStream(body []reply) {
	for _, entry := range body[0].items {
		text := entry.items[0].text
		for _, word := range entry.items[1].items {
			text += " " + word.text
		}
		v.items = append(v.items, text)
	}
	v.text = field(body[1], "last-generated-id")
	for _, group := range body[2].items {
		v.groups[field(group, "name")] = field(group, "last-delivered-id")
	}
	for _, pending := range body[3].items {
		v.fields[streamGroup+" "+pending.items[0].text] = pending.items[1].text
	}
}

func field(r reply, name string) string {
	for i := 0; i+1 < len(r.items); i += 2 {
		if r.items[i].text == name {
			return r.items[i+1].text
		}
	}
	return ""
}

func (v *value) readFieldTTLs(c *conn, key string) error {
	var names []string
	for name := range v.fields {
		names = append(names, name)
	}
	words := append([]string{"HPEXPIRETIME", key, "FIELDS", strconv.Itoa(len(names))}, names...)
	r, err := ask(c, words...)
	if err != nil {
		return err
	}
	for i, item := range r.items {
		if at := item.number(); at > 0 {
			v.fieldUntil[names[i]] = span{at, at}
		} else if at == -2 { // expired meanwhile
			delete(v.fields, names[i])
		}
	}
	return nil
}
