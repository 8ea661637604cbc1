#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/jinja/value.h"

namespace krasis::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class Op : std::uint8_t {
  Constant,     // value
  Name,         // name
  ListLiteral,  // children
  TupleLiteral,
  DictLiteral,  // children: key, value, key, value, ...
  Attribute,    // children[0].name
  Item,         // children[0][children[1]]
  Slice,        // children[0][children[1]:children[2]:children[3]], of which the last three may be null
  Call,         // children[0](children[1..], named)
  Method,       // children[0].name(children[1..], named)
  Filter,       // children[0] | name(children[1..], named)
  Test,         // children[0] is name(children[1..])
  Negate,
  Plus,
  Not,
  And,
  Or,
  Binary,   // name: + - * / // % ~
  Compare,  // children[0] operators[0] children[1] operators[1] children[2] ...
  If        // children[1] if children[0] else children[2], which may be null
};

struct Expression {
  Op op = Op::Constant;
  std::size_t offset = 0;  ///< in the template
  int depth = 1;           ///< of the tree below
  std::string name;
  Value value;
  std::vector<ExpressionPtr> children;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<std::string> operators;
};

enum class Act : std::uint8_t { Text, Print, If, For, Set, SetBlock, SetAttribute, Macro, Break, Continue };

struct Statement;
using Body = std::vector<Statement>;

/// One statement. Which members it uses stands beside them.
struct Statement {
  Act act = Act::Text;
  std::size_t offset = 0;
  std::string text;                ///< Text; Macro: its name; SetAttribute: the attribute
  std::vector<std::string> names;  ///< For, Set, SetBlock, SetAttribute: targets; Macro: parameters
  bool unpack = false;             ///< For, Set: the targets are a tuple
  std::vector<ExpressionPtr>
      expressions;  ///< Print, Set: [0]; If: conditions; For: iterable, filter or null; Macro: defaults or null
  std::vector<Body> bodies;  ///< If: one for each condition, then else; For: body, else
};

struct Template {
  std::string source;  ///< with line breaks as \n
  Body body;
};

/// "line 3, column 7", both counted from 1, of characters.
std::string place(const std::string& source, std::size_t offset);

}  // namespace krasis::jinja
