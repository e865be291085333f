// Calls from PyTorch's dispatcher to a kernel, with the stable ABI only.
#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include <torch/csrc/stable/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/headeronly/util/Exception.h>

namespace custom_ops {

// A string argument of the dispatcher. PyTorch's own conversion to std::string leaks 48 bytes per call up to 2.13
// (pytorch #191340), so the handle is converted here.
struct Name {
  StringHandle handle;

  // The string. Deletes the handle.
  std::string take() const {
    size_t length;
    const char* data;
    STD_TORCH_CHECK(torch_string_length(handle, &length) == 0 && torch_string_c_str(handle, &data) == 0, "no string");
    std::string text(data, length);
    torch_delete_string(handle);
    return text;
  }
};

template <typename A>
using Arriving = std::conditional_t<std::is_same_v<std::remove_cvref_t<A>, std::string>, Name, A>;

template <typename A>
decltype(auto) understood(Arriving<A>& argument) {
  if constexpr (std::is_same_v<Arriving<A>, Name>) {
    return argument.take();
  } else {
    return static_cast<A>(argument);
  }
}

// `Entry<&f>::call` is f for the dispatcher.
template <auto f>
struct Entry;

template <typename R, typename... A, R (*f)(A...)>
struct Entry<f> {
  static R call(Arriving<A>... arguments) { return f(understood<A>(arguments)...); }
};

}  // namespace custom_ops

#define ENTRY(f) TORCH_BOX((&custom_ops::Entry<&custom_ops::f>::call))
