//! What the derives read alike: the path of the crate, the representation, the bounds of a generic type, the fields.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::{Attribute, Data, DeriveInput, Error, Fields, Generics, Ident, LitStr, Member, Path, Result, Type, token};

/// Where the derives find what they name: the `__private` module of `coproc`, whatever the crate is called here.
///
/// An unknown `coproc` attribute, or one that is not on the type itself, is an error.
pub(crate) fn names(input: &DeriveInput) -> Result<TokenStream> {
    let mut root: Path = syn::parse_quote!(::coproc);
    for attr in of_coproc(&input.attrs) {
        attr.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("the only option is `crate = \"path\"`"));
            }
            root = meta.value()?.parse::<LitStr>()?.parse_with(Path::parse_mod_style)?;
            Ok(())
        })?;
    }
    let inner: Vec<&Attribute> = match &input.data {
        Data::Struct(data) => data.fields.iter().flat_map(|field| of_coproc(&field.attrs)).collect(),
        Data::Enum(data) => data
            .variants
            .iter()
            .flat_map(|v| of_coproc(&v.attrs).chain(v.fields.iter().flat_map(|field| of_coproc(&field.attrs))))
            .collect(),
        Data::Union(_) => Vec::new(),
    };
    match inner.first() {
        Some(attr) => Err(Error::new_spanned(attr, "`#[coproc(..)]` belongs on the type")),
        None => Ok(quote!(#root::__private)),
    }
}

fn of_coproc(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("coproc"))
}

/// The words in the `repr` attributes: `["C", "align"]` for `#[repr(C, align(8))]`.
pub(crate) fn reprs(attrs: &[Attribute]) -> Result<Vec<Ident>> {
    let mut words = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("repr")) {
        attr.parse_nested_meta(|meta| {
            words.extend(meta.path.get_ident().cloned());
            if meta.input.peek(token::Paren) {
                let argument;
                syn::parenthesized!(argument in meta.input);
                argument.parse::<TokenStream>()?;
            }
            Ok(())
        })?;
    }
    Ok(words)
}

/// Refuses a struct whose fields may lie anywhere, and with `borrowed` one whose fields cannot be borrowed.
pub(crate) fn require_c(input: &DeriveInput, derive: &str, borrowed: bool) -> Result<()> {
    let reprs = reprs(&input.attrs)?;
    if !reprs.iter().any(|word| word == "C" || word == "transparent") {
        let help = format!("`{derive}` needs a fixed order of the fields: add `#[repr(C)]` to `{}`", input.ident);
        return Err(Error::new_spanned(&input.ident, help));
    }
    if borrowed { not_packed(input, derive) } else { Ok(()) }
}

/// Refuses a packed type.
pub(crate) fn not_packed(input: &DeriveInput, derive: &str) -> Result<()> {
    match reprs(&input.attrs)?.iter().find(|word| *word == "packed") {
        Some(word) => Err(Error::new_spanned(word, format!("`{derive}` borrows the fields, which a packed type does not allow"))),
        None => Ok(()),
    }
}

/// Refuses lifetime parameters.
pub(crate) fn no_lifetimes(generics: &Generics) -> Result<()> {
    match generics.lifetimes().next() {
        Some(found) => Err(Error::new_spanned(
            found,
            "a type with a lifetime holds references, which mean nothing in another process: use values that own their data",
        )),
        None => Ok(()),
    }
}

/// The generics of an impl: those of the type, `'static` for its parameters (as the traits demand of `Self`), and the given bound
/// for each field type that mentions a parameter.
///
/// The other field types are checked where the derive uses them, so that a wrong one is an error at the definition only. A type
/// that contains itself gets no bound for that field, which would be a cycle.
pub(crate) fn bounded<'a>(input: &DeriveInput, bounds: impl Iterator<Item = (&'a Type, &'a TokenStream)>) -> Generics {
    let mut generics = input.generics.clone();
    let types: Vec<Ident> = generics.type_params().map(|param| param.ident.clone()).collect();
    let consts: Vec<Ident> = generics.const_params().map(|param| param.ident.clone()).collect();
    let clause = generics.make_where_clause();
    clause.predicates.extend(types.iter().map(|param| -> syn::WherePredicate { syn::parse_quote!(#param: 'static) }));
    let own = [input.ident.clone(), format_ident!("Self")];
    for (field, bound) in bounds {
        let tokens = field.to_token_stream();
        if mentions(tokens.clone(), &[&types[..], &consts].concat()) && !mentions(tokens, &own) {
            clause.predicates.push(syn::parse_quote!(#field: #bound));
        }
    }
    generics
}

fn mentions(tokens: TokenStream, names: &[Ident]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => names.contains(&ident),
        TokenTree::Group(group) => mentions(group.stream(), names),
        _ => false,
    })
}

/// A field.
pub(crate) struct Field<'a> {
    /// Its name or number, to reach it.
    pub(crate) member: Member,
    /// The same for a hash: `type` for `r#type`.
    pub(crate) label: String,
    /// Its type.
    pub(crate) ty: &'a Type,
}

/// The fields in order.
pub(crate) fn fields(fields: &Fields) -> Vec<Field<'_>> {
    fields
        .iter()
        .zip(fields.members())
        .map(|(field, member)| {
            let label = match &member {
                Member::Named(name) => name.unraw().to_string(),
                Member::Unnamed(index) => index.index.to_string(),
            };
            Field { member, label, ty: &field.ty }
        })
        .collect()
}

/// A span for generated code that an error should point at `place` for. Names in it are those of the derive, not of the caller.
pub(crate) fn at(place: &impl ToTokens) -> Span {
    let place = place.to_token_stream().into_iter().next().map_or_else(Span::call_site, |token| token.span());
    Span::mixed_site().located_at(place)
}

/// A variable of generated code. Variables are hygienic, but a pattern that is the name of a constant of the caller is not: hence
/// the underscores.
pub(crate) fn local(name: &str) -> Ident {
    Ident::new(&format!("__{name}"), Span::mixed_site())
}
