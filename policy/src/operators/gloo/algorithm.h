// Nothing of it is used; libtorch's header names the file.
#pragma once
